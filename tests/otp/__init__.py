"""Tests of servers, supervisors and what else stands on the kernel, through their public face."""
