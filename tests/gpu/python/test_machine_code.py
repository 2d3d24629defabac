"""The reader of disassembled kernels, on listings in cuobjdump's form."""

import unittest

import scripts  # Must be first: makes the kit's scripts importable.
import machine_code

FAST = (
    "_ZN2nc8baseline12norm_forwardINS0_11FastFormatsILNS_5DTypeE2ELS3_2ELS3_2ELb0EEENS0_10StaticNormILb0EEELi2ELi2EEEv"
    "NS0_17ForwardParametersE"
)
QUANTIZED = FAST.replace("ELS3_2ELb0", "ELS3_4ELb0")


def listing(symbol, *instructions):
    lines = ["Fatbin elf code:", "================", "arch = sm_90", "\tcode for sm_90", f"\t\tFunction : {symbol}"]
    lines.append('\t.headerflags\t@"EF_CUDA_64BIT_ADDRESS EF_CUDA_SM90"')
    for i, instruction in enumerate(instructions):
        lines.append(f"        /*{16 * i:04x}*/                   {instruction} ;   /* 0x000fe200078e00ff */")
        lines.append("                                                           /* 0x000fca00078e00ff */")
    return lines


def one(*instructions, symbol=FAST):
    (kernel,) = machine_code.kernels_of(listing(symbol, *instructions))
    return kernel


class MachineCode(unittest.TestCase):
    def test_counts_accesses_by_width(self):
        kernel = one(
            "LDG.E.EF.128 R4, desc[UR6][R2.64]",
            "@!P0 LDG.E.128.CONSTANT R8, desc[UR6][R2.64+0x10]",
            "LDG.E R12, desc[UR6][R16.64]",
            "LDGSTS.E.BYPASS.128 [R20], desc[UR6][R2.64]",
            "@P1 STG.E.128 desc[UR6][R2.64], R4",
            "STS.128 [R20], R4",
            "EXIT",
        )
        self.assertEqual(kernel.accesses, {"loads": {16: 2, 4: 1}, "copies": {16: 1}, "stores": {16: 1}})
        self.assertEqual(kernel.instructions, 7)
        self.assertEqual(kernel.architecture, "sm_90")
        self.assertEqual(list(kernel.faults()), [])

    def test_narrow_and_local_accesses_are_faults(self):
        kernel = one(
            "LDG.E.U16 R4, desc[UR6][R2.64]", "STL.64 [R1], R4", "STG.E.64 desc[UR6][R2.64], R4", "LDL R4, [R1]"
        )
        self.assertEqual(
            list(kernel.faults()),
            ["1 loads of 2 bytes", "1 local of 4 bytes", "1 local of 8 bytes", "1 stores of 8 bytes"],
        )

    def test_unaligned_rows_access_elements_at_their_ends(self):
        loads = ("LDG.E.U16 R4, desc[UR6][R2.64]", "STG.E.U16 desc[UR6][R2.64], R4", "LDG.E.U8 R4, desc[UR6][R2.64]")
        unaligned = one(*loads, symbol=FAST.replace("12norm_forwardI", "22norm_forward_unalignedI"))
        self.assertEqual(list(unaligned.faults()), ["1 loads of 1 bytes"])
        self.assertTrue(machine_code.FAST.search(unaligned.symbol))

    def test_quantized_output_is_narrow(self):
        stores = ("STG.E.64 desc[UR6][R2.64], R4", "STG.E.U8 desc[UR6][R2.64], R4")
        self.assertEqual(list(one(*stores, symbol=QUANTIZED).faults()), [])
        self.assertEqual(len(list(one(*stores).faults())), 2)

    def test_outstanding_loads_end_at_the_first_use(self):
        loads = [f"LDG.E.128 R{4 * i + 8}, desc[UR6][R2.64+{16 * i:#x}]" for i in range(4)]
        self.assertEqual(one(*loads, "FADD R1, R8, R9").in_flight, 4)
        # The second pair is loaded after the first has arrived.
        self.assertEqual(one(*loads[:2], "FADD R1, R8, R12", *loads[2:]).in_flight, 2)
        # Any of a load's four registers.
        self.assertEqual(one(*loads[:2], "FADD R1, R11, RZ", *loads[2:]).in_flight, 3)
        # A load from an address that was loaded.
        self.assertEqual(one(loads[0], "LDG.E.128 R12, desc[UR6][R8.64]").in_flight, 1)

    def test_several_functions(self):
        lines = listing(FAST, "LDG.E.128 R4, desc[UR6][R2.64]") + listing("other", "EXIT", "NOP")
        self.assertEqual([(k.symbol, k.instructions) for k in machine_code.kernels_of(lines)], [(FAST, 1), ("other", 2)])

    def test_table_has_a_line_per_kernel(self):
        lines = list(machine_code.table([one("LDG.E.128 R4, desc[UR6][R2.64]")]))
        self.assertEqual(len(lines), 3)
        self.assertTrue(lines[2].endswith("| sm_90 | 1 | 1x16 | - | - | - | 1 |"), lines[2])


if __name__ == "__main__":
    unittest.main()
