"""What runs inside nbdkit: entry points, the error boundary, exports and the control socket.

Decides nothing; the write path is controller/volume/. Nothing here is
imported by other packages.
"""
