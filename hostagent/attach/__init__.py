"""Volumes as real block devices on this host: kernel nbd, else nbdfuse and a loop device, else the NBD address."""
