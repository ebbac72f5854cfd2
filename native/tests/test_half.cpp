// half.h over all 65,536 values of both formats, and between them.

#include "half.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "check.h"

using namespace nextword;

namespace {

// fp16 by its definition, in double.
double fp16_value(uint16_t half) {
    const int exponent = (half >> 10) & 31, fraction = half & 1023;
    const double sign = half & 0x8000 ? -1.0 : 1.0;
    if (exponent == 31) return fraction == 0 ? sign * HUGE_VAL : NAN;
    return sign * (exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25));
}

void test_fp16_is_read_as_defined_and_written_back() {
    for (uint32_t half = 0; half < 65536; ++half) {
        const float value = from_fp16(static_cast<uint16_t>(half));
        const double expected = fp16_value(static_cast<uint16_t>(half));
        if (std::isnan(expected)) {
            check(std::isnan(value) && std::isnan(from_fp16(to_fp16(value))), "fp16 NaN " + std::to_string(half));
            continue;
        }
        check(value == expected && std::signbit(value) == std::signbit(expected),
              "value of fp16 " + std::to_string(half));
        check(to_fp16(value) == half, "fp16 there and back " + std::to_string(half));
    }
}

// As other libraries set the threads that load them.
void flush_to_zero(bool on) {
#if defined(__x86_64__)
    constexpr unsigned results_and_operands = 1u << 15 | 1u << 6;
    _mm_setcsr(on ? _mm_getcsr() | results_and_operands : _mm_getcsr() & ~results_and_operands);
#elif defined(__aarch64__)
    uint64_t control;
    asm volatile("mrs %0, fpcr" : "=r"(control));
    control = on ? control | 1u << 24 : control & ~(uint64_t{1} << 24);
    asm volatile("msr fpcr, %0" : : "r"(control));
#else
    static_cast<void>(on);
#endif
}

void test_small_numbers_are_read_where_float32_flushes_them_to_zero() {
    flush_to_zero(true);
    std::vector<float> values;
    for (uint32_t half = 0; half < 0x400; ++half) values.push_back(from_fp16(static_cast<uint16_t>(half)));
    flush_to_zero(false);
    for (uint32_t half = 0; half < 0x400; ++half) {
        check(values[half] == fp16_value(static_cast<uint16_t>(half)), "flushed fp16 " + std::to_string(half));
    }
}

void test_bf16_is_the_upper_half_and_comes_back() {
    for (uint32_t half = 0; half < 65536; ++half) {
        const float value = from_bf16(static_cast<uint16_t>(half));
        check(bits_of(value) == half << 16, "bits of bf16 " + std::to_string(half));
        if (std::isnan(value)) {
            check(std::isnan(from_bf16(to_bf16(value))), "bf16 NaN " + std::to_string(half));
        } else {
            check(to_bf16(value) == half, "bf16 there and back " + std::to_string(half));
        }
    }
}

// Between neighbours `low` and the next larger magnitude: the middle goes to the even one, all else to the nearer.
template <class To, class From>
void check_rounding(uint16_t low, const To& to, const From& from) {
    const uint16_t high = static_cast<uint16_t>(low + 1), even = low & 1 ? high : low;
    const double a = from(low), b = from(high), middle = a + (b - a) / 2;
    const float exact = static_cast<float>(middle);
    if (exact != middle || std::isinf(b)) return;
    check(to(exact) == even, "ties to even above " + std::to_string(low));
    check(to(std::nextafter(exact, static_cast<float>(a))) == low, "rounds down above " + std::to_string(low));
    check(to(std::nextafter(exact, static_cast<float>(b))) == high, "rounds up above " + std::to_string(low));
}

void test_values_between_two_go_to_the_nearest_ties_to_even() {
    for (uint32_t sign : {0u, 0x8000u}) {
        for (uint32_t low = 0; low < 0x7bff; ++low)
            check_rounding(static_cast<uint16_t>(sign | low), to_fp16, from_fp16);
        for (uint32_t low = 0; low < 0x7f7f; ++low)
            check_rounding(static_cast<uint16_t>(sign | low), to_bf16, from_bf16);
    }
}

void test_what_is_beyond_the_range_becomes_infinite() {
    check(to_fp16(65519.996f) == 0x7bff, "the largest that rounds to 65504");
    check(to_fp16(65520.0f) == 0x7c00 && to_fp16(1e30f) == 0x7c00 && to_fp16(-1e30f) == 0xfc00, "beyond fp16");
    check(to_fp16(HUGE_VALF) == 0x7c00 && to_bf16(-HUGE_VALF) == 0xff80, "infinities");
    check(to_fp16(0x1p-25f) == 0 && to_fp16(std::nextafter(0x1p-25f, 1.0f)) == 1, "the smallest of fp16");
    check(to_bf16(3.4e38f) == 0x7f80 && to_bf16(3.38e38f) == 0x7f7e, "beyond bf16");
}

}  // namespace

int main() {
    test_fp16_is_read_as_defined_and_written_back();
    test_small_numbers_are_read_where_float32_flushes_them_to_zero();
    test_bf16_is_the_upper_half_and_comes_back();
    test_values_between_two_go_to_the_nearest_ties_to_even();
    test_what_is_beyond_the_range_becomes_infinite();
    return report("half");
}
