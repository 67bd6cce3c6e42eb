"""What OTP gives: servers, supervisors and the watcher, on top of the kernel's processes."""
