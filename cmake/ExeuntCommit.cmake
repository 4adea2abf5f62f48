# SPDX-License-Identifier: Apache-2.0
#
# Run at every build (cmake -P): writes OUTPUT, a header with the commit that the
# tree SOURCE stands at, "+" where tracked files differ from it, "" where there is
# no clone. What did not change is not written, so nothing is compiled again.
execute_process(COMMAND git -C ${SOURCE} describe --always --abbrev=12 --exclude=* --dirty=+
                OUTPUT_VARIABLE commit ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
set(text "/* Made by cmake/ExeuntCommit.cmake. */\n#define EX_COMMIT \"${commit}\"\n")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} before)
endif()
if(NOT text STREQUAL "${before}")
  file(WRITE ${OUTPUT} "${text}")
endif()
