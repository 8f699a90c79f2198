"""Settings of glibc's allocator, as environment variables: it reads them when a process starts."""

#: Blocks of 64 kB and more get pages of their own and give them back when freed: the peak is that of live memory.
RETURNED = {"MALLOC_MMAP_THRESHOLD_": str(2**16), "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_TOP_PAD_": "0"}
#: The heap keeps what it has got: no page faults in the time. 32 MiB is the largest threshold that glibc takes.
HELD = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**28)}
