// AMX: whether it can be used, and the kernels that use it.

#ifndef NEXTWORD_AMX_H
#define NEXTWORD_AMX_H

#include "kernels.h"

namespace nextword {

// None on other processors, and if the compiler does not know AMX.
const Kernels* amx_kernels();

// True if tiles give the products of plain integers. Call it only on processors with AMX.
bool amx_multiplies();

// True if this processor has AMX for int8, the system lets this process use it, and its products are right. The first
// call asks the system, and says on stderr if products are wrong.
bool runs_amx();

}  // namespace nextword

#endif
