// Sums over the members of a host. Whoever waits works.
#pragma once

#include "member.h"

namespace isoerg {

// Starts a sum, in place, and does what can be done now. DONE where it could be started.
Outcome post(Member& m, float* values, size_t length, uint32_t operation, double step, uint32_t bucket, double timeoutMs);

// Until all sums posted are complete.
Outcome finish(Member& m, double timeoutMs);

// Wakes all who wait for something in this segment.
void signalAll(Head* head);

} // namespace isoerg
