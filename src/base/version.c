/* SPDX-License-Identifier: Apache-2.0
 *
 * base/version: the version of the library that runs, which may be newer than
 * the header a program was compiled with.
 */
#include "exeunt.h"

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

const char *ex_version(void) {
  return TEXT(EX_VERSION_MAJOR) "." TEXT(EX_VERSION_MINOR) "." TEXT(EX_VERSION_PATCH);
}
