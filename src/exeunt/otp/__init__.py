"""What OTP gives, on top of the kernel's processes: servers, supervisors, the watcher, and more."""
