package org.normcore.cli.safetensors;

import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSortedSet;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.normcore.TensorView;

/**
 * The tensors of a model's directory: those in {@code model.safetensors.index.json}, else those of
 * {@code model.safetensors}, else those of every {@code *.safetensors}.
 */
public final class SafetensorsDirectory implements TensorSource {
  private static final String INDEX = "model.safetensors.index.json";
  private static final String SINGLE = "model.safetensors";

  private final ImmutableMap<String, SafetensorsFile> files;
  private final ImmutableMap<String, SafetensorsFile> fileOf;
  private final ImmutableMap<String, TensorEntry> entries;

  private SafetensorsDirectory(
      Map<String, SafetensorsFile> files,
      Map<String, SafetensorsFile> fileOf,
      Map<String, TensorEntry> entries) {
    this.files = ImmutableMap.copyOf(files);
    this.fileOf = ImmutableMap.copyOf(fileOf);
    this.entries = ImmutableMap.copyOf(entries);
  }

  /** Opens the model's files and checks their headers. */
  public static SafetensorsDirectory open(Path directory) throws IOException {
    Path index = directory.resolve(INDEX);
    if (Files.exists(index)) {
      return openIndexed(directory, index);
    }
    ImmutableSortedSet<String> names =
        Files.exists(directory.resolve(SINGLE)) ? ImmutableSortedSet.of(SINGLE) : shards(directory);
    if (names.isEmpty()) {
      throw new SafetensorsException(directory, "holds no *.safetensors file");
    }
    Map<String, SafetensorsFile> files = new LinkedHashMap<>();
    try {
      Map<String, SafetensorsFile> fileOf = new LinkedHashMap<>();
      Map<String, TensorEntry> entries = new LinkedHashMap<>();
      for (String name : names) {
        SafetensorsFile file = SafetensorsFile.open(directory.resolve(name));
        files.put(name, file);
        for (TensorEntry entry : file.entries().values()) {
          if (entries.put(entry.name(), entry) != null) {
            throw new SafetensorsException(
                directory,
                "holds the tensor \"" + Quoted.shorten(entry.name()) + "\" in two files");
          }
          fileOf.put(entry.name(), file);
        }
      }
      return new SafetensorsDirectory(files, fileOf, entries);
    } catch (IOException | RuntimeException e) {
      closeAll(files);
      throw e;
    }
  }

  private static SafetensorsDirectory openIndexed(Path directory, Path index) throws IOException {
    JsonObject json = StrictJson.readObject(index, SafetensorsHeader.LARGEST);
    JsonElement map = json.get("weight_map");
    if (map == null || !map.isJsonObject()) {
      throw new SafetensorsException(index, "has no weight_map that is an object");
    }
    Map<String, SafetensorsFile> files = new LinkedHashMap<>();
    try {
      Map<String, SafetensorsFile> fileOf = new LinkedHashMap<>();
      Map<String, TensorEntry> entries = new LinkedHashMap<>();
      for (Map.Entry<String, JsonElement> member : map.getAsJsonObject().entrySet()) {
        String tensor = member.getKey();
        String name = shardName(index, tensor, member.getValue());
        SafetensorsFile file = files.get(name);
        if (file == null) {
          file = SafetensorsFile.open(directory.resolve(name));
          files.put(name, file);
        }
        TensorEntry entry = file.entries().get(tensor);
        if (entry == null) {
          throw new SafetensorsException(
              index,
              "puts the tensor \""
                  + Quoted.shorten(tensor)
                  + "\" into "
                  + name
                  + ", which does not hold it");
        }
        fileOf.put(tensor, file);
        entries.put(tensor, entry);
      }
      return new SafetensorsDirectory(files, fileOf, entries);
    } catch (IOException | RuntimeException e) {
      closeAll(files);
      throw e;
    }
  }

  private static String shardName(Path index, String tensor, JsonElement value) {
    if (value.isJsonPrimitive() && value.getAsJsonPrimitive().isString()) {
      String name = value.getAsString();
      // A name outside the directory is an attack, never a shard.
      if (name.matches("[A-Za-z0-9][A-Za-z0-9._-]{0,200}\\.safetensors")) {
        return name;
      }
    }
    throw new SafetensorsException(
        index,
        "puts the tensor \""
            + Quoted.shorten(tensor)
            + "\" into "
            + Quoted.shorten(value.toString())
            + ", which is not the name of a *.safetensors file beside it");
  }

  private static ImmutableSortedSet<String> shards(Path directory) throws IOException {
    ImmutableSortedSet.Builder<String> names = ImmutableSortedSet.naturalOrder();
    try (DirectoryStream<Path> found = Files.newDirectoryStream(directory, "*.safetensors")) {
      for (Path file : found) {
        names.add(file.getFileName().toString());
      }
    }
    return names.build();
  }

  @Override
  public ImmutableMap<String, TensorEntry> entries() {
    return entries;
  }

  @Override
  public TensorView view(String name) throws IOException {
    SafetensorsFile file = fileOf.get(name);
    if (file == null) {
      throw new IllegalArgumentException(
          "the model has no tensor \"" + Quoted.shorten(name) + "\"");
    }
    return file.view(name);
  }

  @Override
  public void close() throws IOException {
    closeAll(files);
  }

  private static void closeAll(Map<String, SafetensorsFile> files) throws IOException {
    for (SafetensorsFile file : files.values()) {
      file.close();
    }
  }
}
