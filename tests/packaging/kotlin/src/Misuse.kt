import java.nio.file.Path
import kotlin.io.path.createTempDirectory
import kotlin.io.path.listDirectoryEntries
import kotlin.io.path.readLines
import org.jetbrains.kotlin.cli.common.arguments.K2JVMCompilerArguments
import org.jetbrains.kotlin.cli.common.messages.CompilerMessageSeverity
import org.jetbrains.kotlin.cli.common.messages.CompilerMessageSourceLocation
import org.jetbrains.kotlin.cli.common.messages.MessageCollector
import org.jetbrains.kotlin.cli.jvm.K2JVMCompiler
import org.jetbrains.kotlin.config.Services

/** Compiles the files of a directory: exactly the lines that end in "// refused" must have an error. */
fun checkMisuse(directory: Path) {
  val files = directory.listDirectoryEntries("*.kt")
  val expected =
    files
      .flatMap { file ->
        file.readLines().withIndex().filter { it.value.endsWith("// refused") }.map { "${file.fileName}:${it.index + 1}" }
      }
      .toSet()
  check(expected.isNotEmpty())
  val refused = Errors()
  val compiler = K2JVMCompilerArguments()
  compiler.freeArgs = files.map { it.toString() }
  compiler.classpath = System.getProperty("java.class.path")
  compiler.destination = createTempDirectory("misuse").toString()
  compiler.noStdlib = true
  K2JVMCompiler().exec(refused, Services.EMPTY, compiler)
  check(refused.places == expected) { "expected errors at $expected, got\n" + refused.messages.joinToString("\n") }
}

private class Errors : MessageCollector {
  val places = mutableSetOf<String>()
  val messages = mutableListOf<String>()

  override fun clear() {
    places.clear()
    messages.clear()
  }

  override fun hasErrors() = messages.isNotEmpty()

  override fun report(
    severity: CompilerMessageSeverity,
    message: String,
    location: CompilerMessageSourceLocation?,
  ) {
    if (severity.isError) {
      places += "${location?.path?.substringAfterLast('/')}:${location?.line}"
      messages += "$location: $message"
    }
  }
}
