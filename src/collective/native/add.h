// Sums of vectors, element by element in float32, so that every way to do them gives the same bits.
#pragma once

#include <cstddef>

namespace isoerg {

void addTo(float* target, const float* source, size_t count);
// Both become a + b.
void addTwo(float* a, float* b, size_t count);
// All become ((a + b) + c) + d.
void addFour(float* a, float* b, float* c, float* d, size_t count);

} // namespace isoerg
