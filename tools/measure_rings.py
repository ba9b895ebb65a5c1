"""Messages a second that one process reads from, and puts into, a ring of its own.

python tools/measure_rings.py [BYTES]
"""

from __future__ import annotations

import sys
import time

from ring_keeper import make_ring

from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.reader import RingReader
from ml_prediction.earthworm.ring import Ring, RingName

KEY, KILOBYTES, ROUNDS = 987_001, 8192, 20


def main() -> None:
    """Measure, and print."""
    payload = bytes(int(sys.argv[1]) if len(sys.argv) > 1 else 464)
    logo = Logo(19, 1, 255)
    kept = make_ring(KEY, KILOBYTES)
    try:
        ring = Ring(RingName("MEASURED_RING", KEY))
        reader = RingReader(ring, [logo])
        count = ring.keymax * 9 // 10 // (len(payload) + ring.layout.message.size)
        puts, reads, got = 0.0, 0.0, 0
        for _ in range(ROUNDS):
            started = time.perf_counter()
            for _ in range(count):
                ring.put(logo, payload)
            between = time.perf_counter()
            while messages := reader.read().messages:
                got += len(messages)
            puts += between - started
            reads += time.perf_counter() - between
        ring.close()
    finally:
        kept.destroy()
    if got != ROUNDS * count:
        raise SystemExit(f"{got} of {ROUNDS * count} messages were read")
    print(f"{len(payload)} bytes: put {got / puts:,.0f}/s, read {got / reads:,.0f}/s")


if __name__ == "__main__":
    main()
