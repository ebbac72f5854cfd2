// Matrix tiles: the products that use them, with the instructions of AMX where they or their handler can run.

#include "amx.h"
#include "check.h"
#include "tile_machine.h"
#include "tile_trap.h"

using namespace nextword;

namespace nextword {
bool emulated_tiles_multiply();
}

namespace {

void test_tiles_in_plain_code_multiply() { check(emulated_tiles_multiply(), "the self-test, with tiles in plain C++"); }

void test_instructions_multiply() {
    if (runs_amx() || trap_tiles()) {
        check(amx_multiplies(), "the self-test, with the instructions of AMX");
        check(!tile_machine().is_configured(), "no tile is left in use");
    } else {
        std::printf("not for this compiler, system or processor\n");
    }
}

}  // namespace

int main() {
    test_tiles_in_plain_code_multiply();
    test_instructions_multiply();
    return report("tiles");
}
