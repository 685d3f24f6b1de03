/* Prints the names' numbers and roots that each kernel of deals/kernels/piece.c finds for the payload on stdin: for tests of
 * kernels of other processors under an emulator. usage: kernel_main LEVEL ZEROS_FILE < payload */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int sp_has_kernel(int kernel);
int sp_payload_root(int, const uint8_t *, size_t, int, const uint8_t *, uint8_t *);

int main(int argc, char **argv) {
    static uint8_t payload[1 << 22], zeros[18 * 32], root[32];
    if (argc != 3) return 2;
    FILE *file = fopen(argv[2], "rb");
    if (file == NULL || fread(zeros, 1, sizeof zeros, file) != sizeof zeros) return 2;
    size_t size = fread(payload, 1, sizeof payload, stdin);
    for (int kernel = 0; kernel < 6; kernel++) {
        if (!sp_has_kernel(kernel)) continue;
        if (sp_payload_root(kernel, payload, size, atoi(argv[1]), zeros, root)) return 1;
        printf("%d ", kernel);
        for (int i = 0; i < 32; i++) printf("%02x", root[i]);
        printf("\n");
    }
    return 0;
}
