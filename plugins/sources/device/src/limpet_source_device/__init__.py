"""Limpet source: block devices and images, without their holes."""

from limpet_source_device.destination import DeviceDestination
from limpet_source_device.source import DeviceSource

__all__ = [
    "DeviceDestination",
    "DeviceSource",
]
