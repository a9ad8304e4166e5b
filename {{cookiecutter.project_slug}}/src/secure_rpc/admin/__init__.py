"""HTTP for those who run the service, on ports of its own."""

from secure_rpc.admin.access import Exposure, TlsFiles, exposure_of
from secure_rpc.admin.listener import Listener
from secure_rpc.admin.port import OPENMETRICS, Admin

__all__ = ["OPENMETRICS", "Admin", "Exposure", "Listener", "TlsFiles", "exposure_of"]
