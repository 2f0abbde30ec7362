"""Running a bundle's graphs.

ONNX Runtime's wheels send usage events to their maker and keep a device id below the user's home. Encoding photographs
must not phone anybody, so that is switched off here, before the library is first imported. Who wants it sets
ORT_DISABLE_TELEMETRY=0.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
