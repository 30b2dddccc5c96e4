"""Container images without a container engine: archives made here, a Debian base, the project's own images.

Called by `harness/image`, by the native provider (pause, CoreDNS) and by the checks and the demo.
"""
