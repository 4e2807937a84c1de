"""Limpet source: block devices and images, without their holes."""
