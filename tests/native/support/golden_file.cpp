// Embeds tests/golden/hashes.txt in the program: the GPU kit's programs run without the repository.
__asm__(
    ".section .rodata\n"
    ".global nc_golden_file_begin\n"
    ".global nc_golden_file_end\n"
    "nc_golden_file_begin:\n"
    ".incbin \"" NC_GOLDEN_FILE
    "\"\n"
    "nc_golden_file_end:\n"
    ".byte 0\n"
    ".section .note.GNU-stack,\"\",%progbits\n"
    ".text\n");
