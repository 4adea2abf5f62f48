/* SPDX-License-Identifier: Apache-2.0
 *
 * base/real: the number type of everything that is computed.
 *
 * The library is compiled twice. The product computes in float. The oracle
 * (target `exeunt_double`, tests only, -DEX_REAL_IS_DOUBLE) compiles the same
 * sources with double and without oneDNN, so that methods, losses and
 * operators run unchanged under a finite-difference check.
 */
#ifndef EX_BASE_REAL_H
#define EX_BASE_REAL_H

#ifdef EX_REAL_IS_DOUBLE
typedef double ex_real;
#else
typedef float ex_real;
#endif

#endif
