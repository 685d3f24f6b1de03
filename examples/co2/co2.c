/* Yearly carbon dioxide at Mauna Loa and its growth, from the monthly series.
 *
 * usage: co2 INPUT.csv OUTPUT.csv
 *
 * Input lines are date,ppm,adjusted ppm; output lines are year,months,mean ppm,growth since the year before.
 * Only complete years (12 months) have a growth. Sums are whole hundredths of a ppm, so nothing is rounded twice.
 *
 * Freestanding: no C library at all, so that the image it runs in holds this one file and nothing else.
 */
#include <stddef.h>

#if defined(__x86_64__)
static long syscall3(long n, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
static long open_file(const char *path, long flags) {
    register long mode __asm__("r10") = 0644;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(257L), "D"(-100L), "S"(path), "d"(flags), "r"(mode) : "rcx", "r11", "memory");
    return result;
}
enum { SYS_READ = 0, SYS_WRITE = 1, SYS_EXIT = 231 };
__asm__(".globl _start\n_start:\n mov %rsp, %rdi\n and $-16, %rsp\n call start\n");
#elif defined(__aarch64__)
static long syscall4(long n, long a, long b, long c, long d) {
    register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c, x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
static long syscall3(long n, long a, long b, long c) { return syscall4(n, a, b, c, 0); }
static long open_file(const char *path, long flags) { return syscall4(56, -100, (long)path, flags, 0644); }
enum { SYS_READ = 63, SYS_WRITE = 64, SYS_EXIT = 94 };
__asm__(".globl _start\n_start:\n mov x0, sp\n bl start\n");
#else
#error "x86-64 and aarch64 only"
#endif

enum { WRITE_CREATE_TRUNCATE = 01 | 0100 | 01000, MAX_INPUT = 1 << 20 };

static char input[MAX_INPUT], output[1 << 16];
static size_t input_size, used;

static void say(long fd, const char *s) {
    size_t n = 0;
    while (s[n]) n++;
    syscall3(SYS_WRITE, fd, (long)s, (long)n);
}

static void quit(int code) {
    for (;;) syscall3(SYS_EXIT, code, 0, 0);
}

static void fail(const char *why, int code) {
    say(2, "co2: ");
    say(2, why);
    say(2, "\n");
    quit(code);
}

static void put(char c) {
    if (used == sizeof output) fail("too many years", 3);
    output[used++] = c;
}

static void put_number(long n) {
    char digits[24];
    int count = 0;
    if (n < 0) { put('-'); n = -n; }
    do digits[count++] = (char)('0' + n % 10); while (n /= 10);
    while (count) put(digits[--count]);
}

static void put_hundredths(long n) {
    if (n < 0) { put('-'); n = -n; }
    put_number(n / 100);
    put('.');
    put((char)('0' + n / 10 % 10));
    put((char)('0' + n % 10));
}

/* Mean in hundredths, rounded half away from zero. */
static long mean(long sum, long count) {
    return sum < 0 ? -((-sum * 2 + count) / (count * 2)) : (sum * 2 + count) / (count * 2);
}

static void put_year(long year, long sum, long months, long before, int has_before) {
    put_number(year);
    put(',');
    put_number(months);
    put(',');
    put_hundredths(mean(sum, months));
    put(',');
    if (months == 12 && has_before) put_hundredths(mean(sum, 12) - before);
    put('\n');
}

static const char *line_end(const char *p, const char *end) {
    while (p < end && *p != '\n') p++;
    return p;
}

static void summarise(void) {
    const char *p = input, *end = input + input_size;
    long year = 0, sum = 0, months = 0, before = 0, first_mean = 0, last_mean = 0;
    long first_year = 0, last_year = 0;
    int has_before = 0;
    static const char head[] = "year,months,mean_ppm,growth_ppm\n";
    for (size_t i = 0; head[i]; i++) put(head[i]);
    p = line_end(p, end);
    while (p < end) {
        const char *stop;
        long y = 0, whole = 0, fraction = 0, scale = 10;
        int digits = 0;
        p++;
        stop = line_end(p, end);
        while (p < stop && *p >= '0' && *p <= '9') y = y * 10 + (*p++ - '0');
        while (p < stop && *p != ',') p++;
        if (p < stop) p++;
        for (; p < stop && *p >= '0' && *p <= '9'; p++, digits++) whole = whole * 10 + (*p - '0');
        if (p < stop && *p == '.')
            for (p++; p < stop && *p >= '0' && *p <= '9'; p++, scale /= 10) fraction += (*p - '0') * scale;
        p = stop;
        if (!digits || !y) continue; /* a month without a measurement */
        if (y != year) {
            if (months) {
                put_year(year, sum, months, before, has_before);
                has_before = months == 12;
                before = has_before ? mean(sum, 12) : 0;
                if (has_before) {
                    if (!first_year) { first_year = year; first_mean = before; }
                    last_year = year;
                    last_mean = before;
                }
            }
            year = y;
            sum = months = 0;
        }
        sum += whole * 100 + fraction;
        months++;
    }
    if (!months) fail("the input holds no measurement", 2);
    put_year(year, sum, months, before, has_before);
    if (months == 12) { last_year = year; last_mean = mean(sum, 12); }
    size_t mark = used;
    static const char text[] = "complete years ";
    for (size_t i = 0; text[i]; i++) put(text[i]);
    put_number(first_year);
    put(' '); put('t'); put('o'); put(' ');
    put_number(last_year);
    put(':'); put(' '); put('+');
    put_hundredths(last_mean - first_mean);
    static const char unit[] = " ppm CO2\n";
    for (size_t i = 0; unit[i]; i++) put(unit[i]);
    syscall3(SYS_WRITE, 1, (long)(output + mark), (long)(used - mark));
    used = mark;
}

__attribute__((used)) void start(long *stack) {
    long argc = stack[0], fd, got;
    char **argv = (char **)(stack + 1);
    if (argc != 3) fail("usage: co2 INPUT.csv OUTPUT.csv", 64);
    fd = open_file(argv[1], 0);
    if (fd < 0) fail("cannot open the input", 66);
    while ((got = syscall3(SYS_READ, fd, (long)(input + input_size), (long)(MAX_INPUT - input_size))) > 0)
        if ((input_size += (size_t)got) == MAX_INPUT) fail("the input is larger than 1 MiB", 3);
    if (got < 0) fail("cannot read the input", 66);
    summarise();
    fd = open_file(argv[2], WRITE_CREATE_TRUNCATE);
    if (fd < 0) fail("cannot create the output", 73);
    for (size_t done = 0; done < used; done += (size_t)got) {
        got = syscall3(SYS_WRITE, fd, (long)(output + done), (long)(used - done));
        if (got <= 0) fail("cannot write the output", 74);
    }
    quit(0);
}
