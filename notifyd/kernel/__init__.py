"""The kernel as it is: numbers, bytes and system calls, one module for each man page.

Bytes and ints go in, bytes and ints come out, and a failing system call is an `OSError`. Nothing
here knows a rule, a policy or trio, and nothing outside imports ctypes or fcntl.
"""
