"""What all tests need."""

import signal

# Ctrl-C reaches what a test starts even where the tests themselves run in a shell's background, which has it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
