// What a wait ends with; ../host-memory.ts has the same order.
#pragma once

namespace isoerg {

enum Outcome { DONE = 0, PENDING = 1, GONE = 2, DISAGREE = 3, TIMED_OUT = 4, CLOSED = 5, WORN_OUT = 6 };

} // namespace isoerg
