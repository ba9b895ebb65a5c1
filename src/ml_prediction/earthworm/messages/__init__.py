"""Earthworm's messages: from bytes to values and back, without a ring."""

from ml_prediction.earthworm.messages.control import (
    Heartbeat,
    Restart,
    StatusError,
    Stop,
    decode_error,
    decode_heartbeat,
    decode_restart,
    decode_stop,
    encode_error,
    encode_heartbeat,
    encode_restart,
    encode_stop,
)
from ml_prediction.earthworm.messages.errors import MessageError
from ml_prediction.earthworm.messages.picks import (
    Pick2k,
    PickScnl,
    decode_pick2k,
    decode_pick_scnl,
    encode_pick2k,
    encode_pick_scnl,
)
from ml_prediction.earthworm.messages.tracebuf import (
    TraceBuf,
    decode_tracebuf,
    decode_tracebuf2,
    encode_tracebuf,
    encode_tracebuf2,
    start_ns,
)

__all__ = [
    "Heartbeat",
    "MessageError",
    "Pick2k",
    "PickScnl",
    "Restart",
    "StatusError",
    "Stop",
    "TraceBuf",
    "decode_error",
    "decode_heartbeat",
    "decode_pick2k",
    "decode_pick_scnl",
    "decode_restart",
    "decode_stop",
    "decode_tracebuf",
    "decode_tracebuf2",
    "encode_error",
    "encode_heartbeat",
    "encode_pick2k",
    "encode_pick_scnl",
    "encode_restart",
    "encode_stop",
    "encode_tracebuf",
    "encode_tracebuf2",
    "start_ns",
]
