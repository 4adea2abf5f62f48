/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs an exported network on a device or on the host: reads COUNT inputs of bytes from
 * a file and prints a line for each: label, exit, and the bits of confidence and
 * logits, so that two processors can be compared to the last bit.
 *
 *   export_device FILE COUNT
 *
 * Semihosting gives a device the host's files; where it gives no arguments either, FILE
 * is "inputs" and COUNT is DEVICE_COUNT.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"

#ifndef DEVICE_COUNT
#define DEVICE_COUNT 0
#endif

static float work[NET_WORK / sizeof(float)];
static net_input input[NET_INPUTS];

static void print_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  printf(" %08lx", (unsigned long)bits);
}

int main(int argc, char **argv) {
  FILE *file = fopen(argc > 2 ? argv[1] : "inputs", "rb");
  int n = argc > 2 ? atoi(argv[2]) : DEVICE_COUNT;
  if (file == NULL) return 3;
  for (int i = 0; i < n; i++) {
    struct net_result result;
    if (fread(input, sizeof *input, NET_INPUTS, file) != NET_INPUTS) return 4;
    if (net_run(input, work, &result) != NET_OK) return 5;
    printf("%d %d", result.label, result.exit);
    print_bits(result.confidence);
    for (int c = 0; c < NET_OUTPUTS; c++) print_bits(result.logits[c]);
    printf("\n");
  }
  fclose(file);
  return 0;
}
