/* Fr32 and piece commitments for deals/native: plain C symbols, loaded by ctypes, no Python ABI.
 *
 * A node of the tree is SHA-256 of 64 bytes with the two top bits of its last byte cleared. Such a message has two
 * blocks, and the second is the same for all (padding and length): its 64 words W+K are a constant of this file.
 *
 * Every kernel turns `count` messages of 64 bytes into `count` nodes of 32 bytes, `out` may be `in`. Which ones this
 * processor can run is asked at run time; which is fastest is measured by the caller.
 *
 * SHA-256: FIPS 180-4. Fr32 and the tree: filecoin-project/specs, "Piece Commitment".
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
#define SP_X86 1
#include <immintrin.h>
#endif
#if defined(__GNUC__) && defined(__aarch64__)
#define SP_ARM 1
#include <arm_neon.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif
#endif

#if defined(__wasm__)
#define API __attribute__((visibility("default")))
#elif defined(_WIN32)
#define API __declspec(dllexport)
#else
#define API __attribute__((visibility("default")))
#endif

enum { KERNEL_PORTABLE, KERNEL_VECTOR4, KERNEL_AVX2, KERNEL_SHANI, KERNEL_AVX512, KERNEL_ARMV8, KERNELS };

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static const uint32_t H0[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

/* W+K of the second block: 0x80, zeros, and the length of 512 bits. */
static const uint32_t KW2[64] = {
    0xc28a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf374,
    0x649b69c1, 0xf0fe4786, 0x0fe1edc6, 0x240cf254, 0x4fe9346f, 0x6cc984be, 0x61b9411e, 0x16f988fa,
    0xf2c65152, 0xa88e5a6d, 0xb019fc65, 0xb9d99ec7, 0x9a1231c3, 0xe70eeaa0, 0xfdb1232b, 0xc7353eb0,
    0x3069bad5, 0xcb976d5f, 0x5a0f118f, 0xdc1eeefd, 0x0a35b689, 0xde0b7a04, 0x58f4ca9d, 0xe15d5b16,
    0x007f3e86, 0x37088980, 0xa507ea32, 0x6fab9537, 0x17406110, 0x0d8cd6f1, 0xcdaa3b6d, 0xc0bbbe37,
    0x83613bda, 0xdb48a363, 0x0b02e931, 0x6fd15ca7, 0x521afaca, 0x31338431, 0x6ed41a95, 0x6d437890,
    0xc39c91f2, 0x9eccabbd, 0xb5c9a0e6, 0x532fb63c, 0xd2c741c6, 0x07237ea3, 0xa4954b68, 0x4c191d76,
};

/* The last byte of a node is the low byte of its last word; its two top bits go. */
#define TRUNCATE 0xffffff3fu

/* Rounds for any type V with + ^ & | << >>, scalar or vector. */
#define ROTR(x, n) (((x) >> (n)) | ((x) << (32 - (n))))
#define S0(x) (ROTR(x, 2) ^ ROTR(x, 13) ^ ROTR(x, 22))
#define S1(x) (ROTR(x, 6) ^ ROTR(x, 11) ^ ROTR(x, 25))
#define G0(x) (ROTR(x, 7) ^ ROTR(x, 18) ^ ((x) >> 3))
#define G1(x) (ROTR(x, 17) ^ ROTR(x, 19) ^ ((x) >> 10))
#define CH(x, y, z) ((z) ^ ((x) & ((y) ^ (z))))
#define MAJ(x, y, z) (((x) & (y)) | ((z) & ((x) | (y))))
#define ROUND(a, b, c, d, e, f, g, h, kw)                  \
    do {                                                   \
        t1 = (h) + S1(e) + CH(e, f, g) + (kw);             \
        (d) += t1;                                         \
        (h) = t1 + S0(a) + MAJ(a, b, c);                   \
    } while (0)
#define ROUNDS8(i, KWOF)                                   \
    ROUND(a, b, c, d, e, f, g, h, KWOF((i) + 0));          \
    ROUND(h, a, b, c, d, e, f, g, KWOF((i) + 1));          \
    ROUND(g, h, a, b, c, d, e, f, KWOF((i) + 2));          \
    ROUND(f, g, h, a, b, c, d, e, KWOF((i) + 3));          \
    ROUND(e, f, g, h, a, b, c, d, KWOF((i) + 4));          \
    ROUND(d, e, f, g, h, a, b, c, KWOF((i) + 5));          \
    ROUND(c, d, e, f, g, h, a, b, KWOF((i) + 6));          \
    ROUND(b, c, d, e, f, g, h, a, KWOF((i) + 7))
/* w[i & 15] is made anew from the 16 words before it. */
#define NEXT(i) (w[(i) & 15] += G1(w[((i) + 14) & 15]) + w[((i) + 9) & 15] + G0(w[((i) + 1) & 15]))
#define KW_FIRST(i) (w[i] + K[i])
#define KW_NEXT(i) (NEXT(i) + K[i])
#define KW_SECOND(i) KW2[i]

/* Both blocks over w[16] into s[8], for one type V. */
#define BOTH_BLOCKS(V)                                                                          \
    V a, b, c, d, e, f, g, h, t1;                                                               \
    const V zero = {0};                                                                         \
    a = zero + H0[0], b = zero + H0[1], c = zero + H0[2], d = zero + H0[3];                     \
    e = zero + H0[4], f = zero + H0[5], g = zero + H0[6], h = zero + H0[7];                     \
    ROUNDS8(0, KW_FIRST);                                                                       \
    ROUNDS8(8, KW_FIRST);                                                                       \
    for (int i = 16; i < 64; i += 16) {                                                         \
        ROUNDS8(i, KW_NEXT);                                                                    \
        ROUNDS8(i + 8, KW_NEXT);                                                                \
    }                                                                                           \
    s[0] = a += H0[0], s[1] = b += H0[1], s[2] = c += H0[2], s[3] = d += H0[3];                 \
    s[4] = e += H0[4], s[5] = f += H0[5], s[6] = g += H0[6], s[7] = h += H0[7];                 \
    for (int i = 0; i < 64; i += 8) {                                                           \
        ROUNDS8(i, KW_SECOND);                                                                  \
    }                                                                                           \
    s[0] += a, s[1] += b, s[2] += c, s[3] += d, s[4] += e, s[5] += f, s[6] += g, s[7] += h;     \
    s[7] &= TRUNCATE

static inline uint32_t load_be(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void store_be(uint8_t *p, uint32_t x) {
    p[0] = (uint8_t)(x >> 24), p[1] = (uint8_t)(x >> 16), p[2] = (uint8_t)(x >> 8), p[3] = (uint8_t)x;
}

static void nodes_portable(const uint8_t *in, uint8_t *out, size_t count) {
    for (; count; count--, in += 64, out += 32) {
        uint32_t w[16], s[8];
        for (int i = 0; i < 16; i++) w[i] = load_be(in + 4 * i);
        {
            BOTH_BLOCKS(uint32_t);
        }
        for (int i = 0; i < 8; i++) store_be(out + 4 * i, s[i]);
    }
}

#if defined(__GNUC__)
/* LANES messages side by side in the compiler's own vectors; what is left over goes one by one. */
#define LANES_KERNEL(NAME, LANES, ATTRIBUTE)                                                    \
    typedef uint32_t NAME##_v __attribute__((vector_size(4 * (LANES))));                        \
    ATTRIBUTE static void NAME(const uint8_t *in, uint8_t *out, size_t count) {                 \
        for (; count >= (LANES); count -= (LANES), in += 64 * (LANES), out += 32 * (LANES)) {   \
            NAME##_v w[16], s[8];                                                               \
            for (int i = 0; i < 16; i++)                                                        \
                for (int lane = 0; lane < (LANES); lane++)                                      \
                    w[i][lane] = load_be(in + 64 * lane + 4 * i);                               \
            {                                                                                   \
                BOTH_BLOCKS(NAME##_v);                                                          \
            }                                                                                   \
            for (int lane = 0; lane < (LANES); lane++)                                          \
                for (int i = 0; i < 8; i++) store_be(out + 32 * lane + 4 * i, s[i][lane]);      \
        }                                                                                       \
        nodes_portable(in, out, count);                                                         \
    }

LANES_KERNEL(nodes_vector4, 4, )
#endif

#if SP_X86
LANES_KERNEL(nodes_avx2, 8, __attribute__((target("avx2"))))

#define T512 __attribute__((target("avx512f,avx512bw")))

T512 static inline void transpose16(__m512i r[16]) {
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

#define XOR3(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0x96)
#define R512(x, n) _mm512_ror_epi32(x, n)
#define ADD(x, y) _mm512_add_epi32(x, y)
#define ROUND512(a, b, c, d, e, f, g, h, kw)                                                    \
    do {                                                                                        \
        __m512i t1 = ADD(ADD(h, kw), ADD(XOR3(R512(e, 6), R512(e, 11), R512(e, 25)),            \
                                         _mm512_ternarylogic_epi32(e, f, g, 0xca)));            \
        d = ADD(d, t1);                                                                         \
        h = ADD(ADD(t1, _mm512_ternarylogic_epi32(a, b, c, 0xe8)),                              \
                XOR3(R512(a, 2), R512(a, 13), R512(a, 22)));                                    \
    } while (0)
#define ROUNDS512(i, KWOF)                                                                      \
    ROUND512(a, b, c, d, e, f, g, h, KWOF((i) + 0));                                            \
    ROUND512(h, a, b, c, d, e, f, g, KWOF((i) + 1));                                            \
    ROUND512(g, h, a, b, c, d, e, f, KWOF((i) + 2));                                            \
    ROUND512(f, g, h, a, b, c, d, e, KWOF((i) + 3));                                            \
    ROUND512(e, f, g, h, a, b, c, d, KWOF((i) + 4));                                            \
    ROUND512(d, e, f, g, h, a, b, c, KWOF((i) + 5));                                            \
    ROUND512(c, d, e, f, g, h, a, b, KWOF((i) + 6));                                            \
    ROUND512(b, c, d, e, f, g, h, a, KWOF((i) + 7))
#define SET(x) _mm512_set1_epi32((int)(x))
#define KW512_FIRST(i) ADD(w[i], SET(K[i]))
#define NEXT512(i)                                                                              \
    (w[(i) & 15] = ADD(                                                                         \
         ADD(w[(i) & 15], w[((i) + 9) & 15]),                                                   \
         ADD(XOR3(R512(w[((i) + 14) & 15], 17), R512(w[((i) + 14) & 15], 19),                   \
                  _mm512_srli_epi32(w[((i) + 14) & 15], 10)),                                   \
             XOR3(R512(w[((i) + 1) & 15], 7), R512(w[((i) + 1) & 15], 18),                      \
                  _mm512_srli_epi32(w[((i) + 1) & 15], 3)))))

T512 static void nodes_avx512(const uint8_t *in, uint8_t *out, size_t count) {
    const __m512i swap = _mm512_broadcast_i32x4(_mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
    for (; count >= 16; count -= 16, in += 1024, out += 512) {
        __m512i w[16];
        for (int i = 0; i < 16; i++)
            w[i] = _mm512_shuffle_epi8(_mm512_loadu_si512(in + 64 * i), swap);
        transpose16(w);
        __m512i a = SET(H0[0]), b = SET(H0[1]), c = SET(H0[2]), d = SET(H0[3]);
        __m512i e = SET(H0[4]), f = SET(H0[5]), g = SET(H0[6]), h = SET(H0[7]);
        ROUNDS512(0, KW512_FIRST);
        ROUNDS512(8, KW512_FIRST);
        for (int i = 16; i < 64; i += 16) {
            const uint32_t *k = K + i;
#define KW512_LOOP(j) ADD(NEXT512(j), SET(k[j]))
            ROUNDS512(0, KW512_LOOP);
            ROUNDS512(8, KW512_LOOP);
        }
        __m512i s[16];
        s[0] = a = ADD(a, SET(H0[0])), s[1] = b = ADD(b, SET(H0[1]));
        s[2] = c = ADD(c, SET(H0[2])), s[3] = d = ADD(d, SET(H0[3]));
        s[4] = e = ADD(e, SET(H0[4])), s[5] = f = ADD(f, SET(H0[5]));
        s[6] = g = ADD(g, SET(H0[6])), s[7] = h = ADD(h, SET(H0[7]));
        for (int i = 0; i < 64; i += 16) {
            const uint32_t *k = KW2 + i;
#define KW512_CONST(j) SET(k[j])
            ROUNDS512(0, KW512_CONST);
            ROUNDS512(8, KW512_CONST);
        }
        s[0] = ADD(s[0], a), s[1] = ADD(s[1], b), s[2] = ADD(s[2], c), s[3] = ADD(s[3], d);
        s[4] = ADD(s[4], e), s[5] = ADD(s[5], f), s[6] = ADD(s[6], g);
        s[7] = _mm512_and_si512(ADD(s[7], h), SET(TRUNCATE));
        for (int i = 8; i < 16; i++) s[i] = _mm512_setzero_si512();
        transpose16(s);
        for (int i = 0; i < 16; i++)
            _mm256_storeu_si256((__m256i *)(out + 32 * i),
                                _mm512_castsi512_si256(_mm512_shuffle_epi8(s[i], swap)));
    }
    nodes_vector4(in, out, count);
}

#define TSHA __attribute__((target("sha,sse4.1")))

/* Two messages interleaved: one stream alone waits for each sha256rnds2. */
#define SHA_ROUNDS(S, kw)                                                                       \
    do {                                                                                        \
        __m128i x = (kw);                                                                       \
        S##1 = _mm_sha256rnds2_epu32(S##1, S##0, x);                                            \
        S##0 = _mm_sha256rnds2_epu32(S##0, S##1, _mm_shuffle_epi32(x, 0x0e));                   \
    } while (0)

#define SHA_NEXT(m, i)                                                                          \
    (m[(i) & 3] = _mm_sha256msg2_epu32(                                                         \
         _mm_add_epi32(_mm_sha256msg1_epu32(m[(i) & 3], m[((i) + 1) & 3]),                      \
                       _mm_alignr_epi8(m[((i) + 3) & 3], m[((i) + 2) & 3], 4)),                 \
         m[((i) + 3) & 3]))

TSHA static void nodes_shani(const uint8_t *in, uint8_t *out, size_t count) {
    const __m128i swap = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    const __m128i abef = _mm_set_epi32((int)H0[0], (int)H0[1], (int)H0[4], (int)H0[5]);
    const __m128i cdgh = _mm_set_epi32((int)H0[2], (int)H0[3], (int)H0[6], (int)H0[7]);
    const __m128i keep = _mm_set_epi32((int)TRUNCATE, -1, -1, -1);
    const __m128i *k = (const __m128i *)K, *kw2 = (const __m128i *)KW2;
    for (; count >= 2; count -= 2, in += 128, out += 64) {
        __m128i p[4], q[4];
        for (int i = 0; i < 4; i++) {
            p[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)in + i), swap);
            q[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)in + 4 + i), swap);
        }
        __m128i p0 = abef, p1 = cdgh, q0 = abef, q1 = cdgh;
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            SHA_ROUNDS(p, _mm_add_epi32(p[i], _mm_loadu_si128(k + i)));
            SHA_ROUNDS(q, _mm_add_epi32(q[i], _mm_loadu_si128(k + i)));
        }
#pragma GCC unroll 12
        for (int i = 4; i < 16; i++) {
            SHA_ROUNDS(p, _mm_add_epi32(SHA_NEXT(p, i), _mm_loadu_si128(k + i)));
            SHA_ROUNDS(q, _mm_add_epi32(SHA_NEXT(q, i), _mm_loadu_si128(k + i)));
        }
        __m128i ps0 = p0 = _mm_add_epi32(p0, abef), ps1 = p1 = _mm_add_epi32(p1, cdgh);
        __m128i qs0 = q0 = _mm_add_epi32(q0, abef), qs1 = q1 = _mm_add_epi32(q1, cdgh);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            SHA_ROUNDS(p, _mm_loadu_si128(kw2 + i));
            SHA_ROUNDS(q, _mm_loadu_si128(kw2 + i));
        }
        p0 = _mm_add_epi32(p0, ps0), p1 = _mm_add_epi32(p1, ps1);
        q0 = _mm_add_epi32(q0, qs0), q1 = _mm_add_epi32(q1, qs1);
        /* abef, cdgh -> abcd, efgh */
        __m128i *o = (__m128i *)out;
        __m128i x = _mm_shuffle_epi32(p0, 0x1b), y = _mm_shuffle_epi32(p1, 0xb1);
        _mm_storeu_si128(o, _mm_shuffle_epi8(_mm_blend_epi16(x, y, 0xf0), swap));
        _mm_storeu_si128(o + 1, _mm_shuffle_epi8(_mm_and_si128(_mm_alignr_epi8(y, x, 8), keep), swap));
        x = _mm_shuffle_epi32(q0, 0x1b), y = _mm_shuffle_epi32(q1, 0xb1);
        _mm_storeu_si128(o + 2, _mm_shuffle_epi8(_mm_blend_epi16(x, y, 0xf0), swap));
        _mm_storeu_si128(o + 3, _mm_shuffle_epi8(_mm_and_si128(_mm_alignr_epi8(y, x, 8), keep), swap));
    }
    nodes_portable(in, out, count);
}
#endif /* SP_X86 */

#if SP_ARM
#define TARM __attribute__((target("+crypto")))

#define ARM_ROUNDS(S, kw)                                                                       \
    do {                                                                                        \
        uint32x4_t x = (kw), before = S##0;                                                     \
        S##0 = vsha256hq_u32(S##0, S##1, x);                                                    \
        S##1 = vsha256h2q_u32(S##1, before, x);                                                 \
    } while (0)
#define ARM_NEXT(m, i)                                                                          \
    (m[(i) & 3] = vsha256su1q_u32(vsha256su0q_u32(m[(i) & 3], m[((i) + 1) & 3]),                \
                                  m[((i) + 2) & 3], m[((i) + 3) & 3]))

TARM static void nodes_armv8(const uint8_t *in, uint8_t *out, size_t count) {
    const uint32x4_t h0 = vld1q_u32(H0), h1 = vld1q_u32(H0 + 4);
    for (; count >= 2; count -= 2, in += 128, out += 64) {
        uint32x4_t p[4], q[4];
        for (int i = 0; i < 4; i++) {
            p[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(in + 16 * i)));
            q[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(in + 64 + 16 * i)));
        }
        uint32x4_t p0 = h0, p1 = h1, q0 = h0, q1 = h1;
        for (int i = 0; i < 4; i++) {
            ARM_ROUNDS(p, vaddq_u32(p[i], vld1q_u32(K + 4 * i)));
            ARM_ROUNDS(q, vaddq_u32(q[i], vld1q_u32(K + 4 * i)));
        }
#pragma GCC unroll 12
        for (int i = 4; i < 16; i++) {
            ARM_ROUNDS(p, vaddq_u32(ARM_NEXT(p, i), vld1q_u32(K + 4 * i)));
            ARM_ROUNDS(q, vaddq_u32(ARM_NEXT(q, i), vld1q_u32(K + 4 * i)));
        }
        uint32x4_t ps0 = p0 = vaddq_u32(p0, h0), ps1 = p1 = vaddq_u32(p1, h1);
        uint32x4_t qs0 = q0 = vaddq_u32(q0, h0), qs1 = q1 = vaddq_u32(q1, h1);
        for (int i = 0; i < 16; i++) {
            ARM_ROUNDS(p, vld1q_u32(KW2 + 4 * i));
            ARM_ROUNDS(q, vld1q_u32(KW2 + 4 * i));
        }
        const uint32x4_t keep = {~0u, ~0u, ~0u, TRUNCATE};
        p0 = vaddq_u32(p0, ps0), p1 = vandq_u32(vaddq_u32(p1, ps1), keep);
        q0 = vaddq_u32(q0, qs0), q1 = vandq_u32(vaddq_u32(q1, qs1), keep);
        vst1q_u8(out, vrev32q_u8(vreinterpretq_u8_u32(p0)));
        vst1q_u8(out + 16, vrev32q_u8(vreinterpretq_u8_u32(p1)));
        vst1q_u8(out + 32, vrev32q_u8(vreinterpretq_u8_u32(q0)));
        vst1q_u8(out + 48, vrev32q_u8(vreinterpretq_u8_u32(q1)));
    }
    nodes_portable(in, out, count);
}
#endif /* SP_ARM */

typedef void (*nodes_fn)(const uint8_t *, uint8_t *, size_t);

static nodes_fn kernel_of(int kernel) {
    switch (kernel) {
    case KERNEL_PORTABLE:
        return nodes_portable;
#if defined(__GNUC__)
    case KERNEL_VECTOR4:
        return nodes_vector4;
#endif
#if SP_X86
    case KERNEL_AVX2:
        return __builtin_cpu_supports("avx2") ? nodes_avx2 : NULL;
    case KERNEL_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") ? nodes_avx512 : NULL;
    case KERNEL_SHANI: {
        /* CPUID leaf 7, EBX bit 29; older compilers do not know the name "sha" here */
        uint32_t a = 7, b, c = 0, d;
        if (!__builtin_cpu_supports("sse4.1")) return NULL;
        __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
        return b >> 29 & 1 ? nodes_shani : NULL;
    }
#endif
#if SP_ARM
    case KERNEL_ARMV8:
#if defined(__linux__)
        return getauxval(AT_HWCAP) & HWCAP_SHA2 ? nodes_armv8 : NULL;
#elif defined(__APPLE__)
        return nodes_armv8; /* every 64-bit Apple processor has them */
#else
        return NULL;
#endif
#endif
    default:
        return NULL;
    }
}

/* Whether this processor runs the kernel of that number. */
API int sp_has_kernel(int kernel) {
    return kernel_of(kernel) != NULL;
}

/* Fr32 by words of four lanes of 64 bits, in whatever vectors the compiler has. Memory is little-endian on every machine
 * that we know of; the loads below take it for granted. */
#define WORD_TOP 0x3fffffffffffffffull

#if defined(__GNUC__)
typedef uint64_t lanes __attribute__((vector_size(32)));
#define LOAD(x, p) memcpy(&(x), (p), 32)
#define KEEP ((lanes){~0ull, ~0ull, ~0ull, WORD_TOP})

/* One quad: reads 128 bytes of `in`, of which the last does not matter. */
static inline void pad_quad(const uint8_t *in, uint8_t *out) {
    for (int word = 0; word < 4; word++) {
        /* word i is bits 254*i .. 254*i+253: it starts 2*i bits before 256*i */
        lanes x, before;
        int shift = 2 * word;
        LOAD(x, in + 32 * word);
        if (word) {
            LOAD(before, in + 32 * word - 8);
            x = x << shift | before >> (64 - shift);
        }
        x &= KEEP;
        memcpy(out + 32 * word, &x, 32);
    }
}

/* One quad: reads 136 bytes of `in`, of which the last 8 do not matter, and writes 128, of which the last does not. */
static inline void unpad_quad(const uint8_t *in, uint8_t *out) {
    const lanes low = {~0ull, ~0ull, ~0ull, 0}, top = {0, 0, 0, ~0ull};
    for (int word = 0; word < 4; word++) {
        lanes x, next;
        int shift = 2 * word;
        LOAD(x, in + 32 * word);
        LOAD(next, in + 32 * word + 8);
        x = (x & KEEP) >> shift;
        /* what follows the 254 bits of word i is the start of word i+1 */
        x |= (next << (62 - shift)) & top;
        if (word) x |= (next << (64 - shift)) & low;
        memcpy(out + 32 * word, &x, 32);
    }
}
#else
static void pad_quad(const uint8_t *in, uint8_t *out) {
    uint64_t w[16], r[16];
    memcpy(w, in, 128);
    for (int at = 0; at < 16; at++) {
        int shift = at / 4 * 2;
        r[at] = shift == 0 ? w[at] : (w[at] << shift | w[at - 1] >> (64 - shift));
        if (at % 4 == 3) r[at] &= WORD_TOP;
    }
    memcpy(out, r, 128);
}

static void unpad_quad(const uint8_t *in, uint8_t *out) {
    uint64_t w[17], r[16];
    memcpy(w, in, 136);
    for (int at = 0; at < 16; at++) {
        int shift = at / 4 * 2;
        r[at] = (at % 4 == 3 ? w[at] & WORD_TOP : w[at]) >> shift;
        if (at % 4 == 3) r[at] |= w[at + 1] << (62 - shift);
        else if (shift) r[at] |= w[at + 1] << (64 - shift);
    }
    memcpy(out, r, 128);
}
#endif

/* Fr32: `quads` times 127 bytes become 128. The buffers must not overlap. */
API void sp_pad(const uint8_t *in, uint8_t *out, size_t quads) {
    uint8_t last[128];
    if (quads == 0) return;
    for (; quads > 1; quads--, in += 127, out += 128) pad_quad(in, out);
    memcpy(last, in, 127); /* nothing is read behind the end */
    last[127] = 0;
    pad_quad(last, out);
}

/* The inverse; the two top bits of each 32-byte word are dropped unseen. `out` may be `in`, and must not overlap otherwise. */
API void sp_unpad(const uint8_t *in, uint8_t *out, size_t quads) {
    uint8_t last[136], made[128];
    if (quads == 0) return;
    for (; quads > 1; quads--, in += 128, out += 127) unpad_quad(in, out);
    memcpy(last, in, 128); /* nothing is read or written behind the ends */
    memset(last + 128, 0, 8);
    unpad_quad(last, made);
    memcpy(out, made, 127);
}

/* Levels of a tree in place: `leaves` (a power of two) 32-byte leaves in `nodes`; the root ends up in front. */
static void fold(nodes_fn nodes_of, uint8_t *nodes, size_t leaves) {
    for (; leaves > 1; leaves /= 2) nodes_of(nodes, nodes, leaves / 2);
}

static int is_zero(const uint8_t *p, size_t size) {
    return size == 0 || (p[0] == 0 && memcmp(p, p + 1, size - 1) == 0);
}

/* A level of any number of nodes. 0, or -1 when the kernel is not to be had. */
API int sp_nodes(int kernel, const uint8_t *in, uint8_t *out, size_t count) {
    nodes_fn nodes_of = kernel_of(kernel);
    if (nodes_of == NULL) return -1;
    nodes_of(in, out, count);
    return 0;
}

#define BLOCK_LEVEL 10 /* 1,024 leaves: 32 KiB padded, at home in the nearest caches */
#define BLOCK_QUADS ((size_t)1 << (BLOCK_LEVEL - 2))
#define ROOTS_LEVEL 7 /* so many levels above a block: 4 MiB padded at a time, and a stack that threads have */

/* Whether the two top bits of every 32-byte word are clear, as Fr32 leaves them; the rest of `size` is no whole word. */
static int is_fr32(const uint8_t *padded, size_t size) {
    uint8_t seen = 0;
    for (size_t at = 31; at < size; at += 32) seen |= padded[at];
    return (seen & 0xc0) == 0;
}

/* The root over 2**level leaves (level 2 to 17) of `size` bytes in quads of `quad` bytes (127: padded here; 128: padded
 * already), with zeros behind them. 0; -1 when it cannot be; -2 when padded data is no Fr32. */
static int tree_root(nodes_fn nodes_of, size_t quad, const uint8_t *data, size_t size, int level, const uint8_t *zeros,
                     uint8_t *root) {
    if (nodes_of == NULL || level < 2 || level > BLOCK_LEVEL + ROOTS_LEVEL) return -1;
    if (size > quad << (level - 2)) return -1;
    uint8_t block[(size_t)32 << BLOCK_LEVEL], tail[128 * BLOCK_QUADS], roots[(size_t)32 << ROOTS_LEVEL];
    int at = level < BLOCK_LEVEL ? level : BLOCK_LEVEL;
    size_t whole = quad << (at - 2), count = 0;
    for (size_t used = 0; used < size; used += whole, count++) {
        const uint8_t *from = data + used;
        size_t part = size - used < whole ? size - used : whole;
        if (is_zero(from, part)) {
            memcpy(roots + 32 * count, zeros + 32 * (size_t)at, 32);
            continue;
        }
        if (part < whole) {
            memcpy(tail, from, part);
            memset(tail + part, 0, whole - part);
            from = tail;
        }
        if (quad == 128) {
            if (!is_fr32(from, whole)) return -2;
            nodes_of(from, block, (size_t)1 << (at - 1));
            fold(nodes_of, block, (size_t)1 << (at - 1));
        } else {
            sp_pad(from, block, whole / 127);
            fold(nodes_of, block, (size_t)1 << at);
        }
        memcpy(roots + 32 * count, block, 32);
    }
    if (count == 0) {
        memcpy(root, zeros + 32 * (size_t)level, 32);
        return 0;
    }
    for (; at < level; at++, count /= 2) {
        if (count & 1) memcpy(roots + 32 * count++, zeros + 32 * (size_t)at, 32);
        nodes_of(roots, roots, count / 2);
    }
    memcpy(root, roots, 32);
    return 0;
}

/* The root over 2**level leaves (level 2 to 17) of a payload of `size` bytes, padded, with zeros behind it.
 * `zeros` has the roots of zeros of the levels up to `level`, 32 bytes each: parts of zeros are not hashed.
 * 0, or -1 when the kernel is not to be had or the payload does not fit. */
API int sp_payload_root(int kernel, const uint8_t *payload, size_t size, int level, const uint8_t *zeros,
                        uint8_t *root) {
    return tree_root(kernel_of(kernel), 127, payload, size, level, zeros, root);
}

/* The same of data that is padded already, in one pass over it. -2 when a word has a bit that Fr32 data cannot have. */
API int sp_padded_root(int kernel, const uint8_t *padded, size_t size, int level, const uint8_t *zeros, uint8_t *root) {
    return tree_root(kernel_of(kernel), 128, padded, size, level, zeros, root);
}

#if defined(__wasm__)
/* A module has no heap of its own: callers write into this room and read from it. */
static uint8_t room[(size_t)9 << 20];

API uint8_t *sp_room(void) {
    return room;
}

API size_t sp_room_size(void) {
    return sizeof room;
}
#endif
