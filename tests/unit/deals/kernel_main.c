/* Prints the number of each kernel of deals/kernels/piece.c, the root it finds for the payload on stdin, and the root it finds
 * for the same data in Fr32 form, which must unpad to the payload again: for tests of kernels of other processors under an
 * emulator. usage: kernel_main LEVEL ZEROS_FILE < payload */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int sp_has_kernel(int kernel);
int sp_payload_root(int, const uint8_t *, size_t, int, const uint8_t *, uint8_t *);
int sp_padded_root(int, const uint8_t *, size_t, int, const uint8_t *, uint8_t *);
void sp_pad(const uint8_t *, uint8_t *, size_t);
void sp_unpad(const uint8_t *, uint8_t *, size_t);

static void print_root(const uint8_t *root) {
    printf(" ");
    for (int i = 0; i < 32; i++) printf("%02x", root[i]);
}

int main(int argc, char **argv) {
    static uint8_t payload[127 << 13], padded[128 << 13], back[127 << 13], zeros[18 * 32], root[32];
    if (argc != 3) return 2;
    FILE *file = fopen(argv[2], "rb");
    if (file == NULL || fread(zeros, 1, sizeof zeros, file) != sizeof zeros) return 2;
    size_t size = fread(payload, 1, sizeof payload, stdin);
    size_t quads = (size + 126) / 127;
    sp_pad(payload, padded, quads);
    sp_unpad(padded, back, quads);
    if (memcmp(payload, back, quads * 127) != 0) return 3;
    for (int kernel = 0; kernel < 6; kernel++) {
        if (!sp_has_kernel(kernel)) continue;
        if (sp_payload_root(kernel, payload, size, atoi(argv[1]), zeros, root)) return 1;
        printf("%d", kernel);
        print_root(root);
        if (sp_padded_root(kernel, padded, quads * 128, atoi(argv[1]), zeros, root)) return 1;
        print_root(root);
        printf("\n");
    }
    return 0;
}
