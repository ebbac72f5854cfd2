// AMX on processors that do not have it: its instructions raise SIGILL, and the handler does what they would have done.
// The instructions that the compiler wrote are thereby decoded and executed, one by one.

#ifndef NEXTWORD_TESTS_TILE_TRAP_H
#define NEXTWORD_TESTS_TILE_TRAP_H

#include <algorithm>
#include <string>
#include <vector>

#include "amx.h"
#include "kernels.h"

namespace nextword {

inline bool runs_kernels(const std::string& name) {
    const std::vector<const Kernels*>& found = runnable_kernels();
    return std::any_of(found.begin(), found.end(), [&](const Kernels* each) { return each->name == name; });
}

}  // namespace nextword

#if defined(__x86_64__) && defined(__linux__)

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <ucontext.h>

#include "tile_machine.h"

namespace nextword {

// An instruction of AMX: VEX prefix of three bytes, opcode, ModRM, and SIB and displacement where it has memory.
class TileInstruction {
public:
    TileInstruction(const uint8_t* code, const greg_t* registers) : code_(code), registers_(registers) {
        if (code[0] != 0xc4 || (code[1] & 0x1f) != 2 || (code[2] & 0x84) != 0) std::abort();  // map 0F38, W0, 128 bits
    }

    int prefix() const { return code_[2] & 3; }  // none, 66, F3, F2
    int opcode() const { return code_[3]; }
    bool has_memory() const { return mod() != 3; }
    int reg() const { return code_[4] >> 3 & 7; }
    int rm() const { return code_[4] & 7; }
    int third() const { return ~code_[2] >> 3 & 15; }
    int num_bytes() const { return 5 + has_sib() + displacement_bytes(); }
    // Address of the first row.
    uint8_t* address() const {
        int64_t offset = 0;
        const uint8_t* displacement = code_ + 5 + has_sib();
        if (displacement_bytes() == 1) offset = static_cast<int8_t>(*displacement);
        if (displacement_bytes() == 4) {
            int32_t value;
            std::memcpy(&value, displacement, sizeof value);
            offset = value;
        }
        if (is_relative()) return const_cast<uint8_t*>(code_) + num_bytes() + offset;
        const int base = (has_sib() ? code_[5] & 7 : rm()) | (code_[1] & 0x20 ? 0 : 8);
        if (mod() == 0 && (base & 7) == 5) std::abort();  // absolute: not used here
        return reinterpret_cast<uint8_t*>(value_of(base) + offset);
    }
    int64_t stride() const {
        const int index = (code_[5] >> 3 & 7) | (code_[1] & 0x40 ? 0 : 8);
        return index == 4 ? 0 : value_of(index) << (code_[5] >> 6);
    }

private:
    int mod() const { return code_[4] >> 6; }
    bool has_sib() const { return has_memory() && rm() == 4; }
    bool is_relative() const { return mod() == 0 && rm() == 5; }  // to the next instruction
    int displacement_bytes() const { return mod() == 1 ? 1 : mod() == 2 || is_relative() ? 4 : 0; }

    int64_t value_of(int number) const {
        static constexpr int order[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                        REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
        return registers_[order[number]];
    }

    const uint8_t* code_;
    const greg_t* registers_;
};

inline void execute(const TileInstruction& instruction, TileMachine& machine) {
    constexpr int none = 0, f3 = 2, f2 = 3;
    const int opcode = instruction.opcode(), prefix = instruction.prefix(), reg = instruction.reg();
    if (opcode == 0x49 && prefix == none && instruction.has_memory()) return machine.configure(instruction.address());
    if (opcode == 0x49 && prefix == none) return machine.release();
    if (opcode == 0x49 && prefix == f2) return machine.zero(reg);
    if (opcode == 0x4b && prefix == f2) return machine.load(reg, instruction.address(), instruction.stride());
    if (opcode == 0x4b && prefix == f3) return machine.store(reg, instruction.address(), instruction.stride());
    if (opcode == 0x5e && prefix == f2) return machine.dot<int8_t>(reg, instruction.rm(), instruction.third());
    if (opcode == 0x5e && prefix == f3) return machine.dot<uint8_t>(reg, instruction.rm(), instruction.third());
    std::abort();
}

// Execute them from now on, if the compiler knows AMX and the processor does not, but has the AVX-512 between them.
inline bool trap_tiles() {
    if (amx_kernels() == nullptr || runs_amx() || !runs_kernels("avx512")) return false;
    struct sigaction action = {};
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = [](int, siginfo_t*, void* context) {
        greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
        const TileInstruction instruction(reinterpret_cast<const uint8_t*>(registers[REG_RIP]), registers);
        execute(instruction, tile_machine());
        registers[REG_RIP] += instruction.num_bytes();
    };
    sigaction(SIGILL, &action, nullptr);
    return true;
}

}  // namespace nextword

#else

namespace nextword {
inline bool trap_tiles() { return false; }
}  // namespace nextword

#endif

#endif
