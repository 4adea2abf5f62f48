/* SPDX-License-Identifier: Apache-2.0
 *
 * From reset to the C library's own start, on an emulated Cortex-M.
 */
#include <stdint.h>

extern uint32_t __stack; /* the linker script's: one past the end of the RAM */
extern void _start(void);
void device_reset(void);
void _init(void);
void _fini(void);

static void stop(void) {
  for (;;) {}
}

/* The initial stack pointer, reset, and faults, at which the test will time out. */
struct vectors {
  uint32_t *stack;
  void (*handler[15])(void);
};
__attribute__((section(".vectors"), used)) static const struct vectors vectors = {
    &__stack, {device_reset, stop, stop, stop, stop, stop}};

void device_reset(void) {
#if defined(__ARM_FP)
  volatile uint32_t *const access =
      (volatile uint32_t *)0xE000ED88; /* CPACR: all may use the FPU */
  *access |= 0xFu << 20;
  __asm volatile("dsb\n isb");
#endif
  _start();
}

void _init(void) {}
void _fini(void) {}
