package org.normcore.oracle;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.jna.Library;
import com.sun.jna.Memory;
import com.sun.jna.NativeLibrary;
import com.sun.jna.Pointer;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.normcore.DLPack;
import org.normcore.DLPackTensor;
import org.normcore.DType;
import org.normcore.NativeBuffer;
import org.normcore.TensorView;

/**
 * DLPack between PyTorch and this library, both ways. The JavaCPP binding lacks PyTorch's
 * conversions, so the test calls their C++ symbols: a reference is an address, a tensor returned by
 * value is constructed at an address passed before the arguments, and a {@code std::function} by
 * value is the address of one, here empty.
 */
class DLPackTorchTest {
  private static final int STD_FUNCTION_BYTES = 32;
  private static final int RTLD_LAZY = 1;

  /** The name alone finds the loaded library; its symbols stay local. */
  private static NativeLibrary libtorch() {
    torch.set_num_threads(1);
    return NativeLibrary.getInstance("torch_cpu", Map.of(Library.OPTION_OPEN_FLAGS, RTLD_LAZY));
  }

  private static long fromTorch(Tensor tensor, boolean versioned) {
    String symbol =
        versioned ? "_ZN2at17toDLPackVersionedERKNS_6TensorE" : "_ZN2at8toDLPackERKNS_6TensorE";
    return libtorch().getFunction(symbol).invokeLong(new Object[] {new Pointer(tensor.address())});
  }

  private static Tensor toTorch(long managed, boolean versioned) {
    String symbol =
        versioned
            ? "_ZN2at19fromDLPackVersionedEP24DLManagedTensorVersionedSt8functionIFvPvEE"
            : "_ZN2at10fromDLPackEP15DLManagedTensorSt8functionIFvPvEE";
    Memory noDeleter = new Memory(STD_FUNCTION_BYTES);
    noDeleter.clear();
    // An undefined tensor owns nothing, so another may be constructed in its memory.
    Tensor tensor = new Tensor();
    Object[] arguments = {new Pointer(tensor.address()), new Pointer(managed), noDeleter};
    libtorch().getFunction(symbol).invokePointer(arguments);
    return tensor;
  }

  @ParameterizedTest
  @CsvSource({
    "FLOAT32, false", "FLOAT64, false", "BFLOAT16, false", "FLOAT16, false",
    "FLOAT32, true", "FLOAT64, true", "BFLOAT16, true", "FLOAT16, true"
  })
  void torchTensorIsSeenAndGivenBack(DType dtype, boolean versioned) {
    Tensor tensor = torch.empty(new long[] {4, 6}, new TensorOptions(Torch.type(dtype)), null);
    Torch.view(tensor, dtype, 4, 6).copyFrom(ascending(24));
    // Omits two of the six columns: rows with gaps.
    Tensor narrow = tensor.narrow(1, 1, 4);
    long uses = narrow.use_count();
    DLPackTensor imported = take(fromTorch(narrow, versioned), versioned);
    assertEquals(uses + 1, narrow.use_count());
    TensorView view = imported.tensor();
    assertEquals(dtype + "[4, 4] with a row stride of 6 on cpu", view.toString());
    assertEquals(narrow.data_ptr().address(), view.address());
    assertFalse(imported.isReadOnly());
    assertEquals(20, view.toFloats()[13]);
    // Writes on one side, reads on the other.
    view.copyFrom(new float[16]);
    assertEquals(0, Torch.view(tensor, dtype, 4, 6).toFloats()[20]);
    assertEquals(23, Torch.view(tensor, dtype, 4, 6).toFloats()[23]);
    imported.close();
    imported.close();
    assertEquals(uses, narrow.use_count());
    tensor.close();
    narrow.close();
  }

  @ParameterizedTest
  @CsvSource({
    "FLOAT32, false", "FLOAT64, false", "BFLOAT16, false", "FLOAT16, false",
    "FLOAT32, true", "FLOAT64, true", "BFLOAT16, true", "FLOAT16, true"
  })
  void torchTakesOurTensorAndDeletesItOnce(DType dtype, boolean versioned) {
    NativeBuffer memory = NativeBuffer.allocate(dtype, 2, 3, 8);
    TensorView view = memory.view(dtype, 2, 3, 8).copyFrom(ascending(48));
    TensorView strided = memory.view(dtype, 2, 3, 4).withRowStride(8);
    long managed = versioned ? DLPack.exportVersioned(strided) : DLPack.exportTensor(strided);
    Tensor tensor = toTorch(managed, versioned);
    assertTrue(Torch.is(tensor, dtype));
    assertArrayEquals(new long[] {2, 3, 4}, sizes(tensor));
    assertEquals(8, tensor.stride(1));
    assertEquals(24, tensor.stride(0));
    assertEquals(view.address(), tensor.data_ptr().address());
    assertEquals(43, Torch.view(tensor, dtype, 2, 3, 4).toFloats()[23]);
    tensor.zero_();
    assertEquals(0, view.toFloats()[0]);
    assertEquals(4, view.toFloats()[4]);
    // A second tensor keeps the memory; the last one releases it.
    Tensor other = tensor.narrow(0, 1, 1);
    tensor.close();
    assertThrows(IllegalStateException.class, memory::close);
    other.close();
    memory.close();
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void roundTripThroughTorch(boolean versioned) {
    try (NativeBuffer memory = NativeBuffer.allocate(DType.FLOAT8_E4M3, 16).zero()) {
      TensorView view = memory.view(DType.FLOAT8_E4M3, 4, 4);
      long ours = versioned ? DLPack.exportVersioned(view) : DLPack.exportTensor(view);
      Tensor tensor = toTorch(ours, versioned);
      try (DLPackTensor again = take(fromTorch(tensor, versioned), versioned)) {
        tensor.close();
        assertEquals("FLOAT8_E4M3[4, 4] on cpu", again.tensor().toString());
        assertEquals(memory.address(), again.tensor().address());
        assertThrows(IllegalStateException.class, memory::close);
      }
    }
  }

  private static DLPackTensor take(long managed, boolean versioned) {
    return versioned ? DLPack.importVersioned(managed) : DLPack.importTensor(managed);
  }

  private static float[] ascending(int count) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = i;
    }
    return values;
  }

  private static long[] sizes(Tensor tensor) {
    long[] sizes = new long[(int) tensor.dim()];
    for (int i = 0; i < sizes.length; i++) {
      sizes[i] = tensor.size(i);
    }
    return sizes;
  }
}
