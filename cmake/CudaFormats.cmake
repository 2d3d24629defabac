# The formats of x, weight and y of the fast CUDA kernels. Each triple is compiled separately, as NC_X, NC_W and NC_Y.
# The generic kernels serve all other combinations; they select the formats at run time.
set(NORMCORE_CUDA_FORMATS
    float32,float32,float32
    bfloat16,bfloat16,bfloat16
    float16,float16,float16
    bfloat16,float32,bfloat16
    float16,float32,float16
    bfloat16,float32,float32
    float16,float32,float32)

# normcore_cuda_formats(TARGET TRIPLE): compiles the target's sources for the triple.
function(normcore_cuda_formats target triple)
  string(REPLACE "," ";" formats ${dtypes})
  list(GET formats 0 x)
  list(GET formats 1 w)
  list(GET formats 2 y)
  target_compile_definitions(${target} PRIVATE NC_X=${x} NC_W=${w} NC_Y=${y})
endfunction()
