package org.normcore.cli.onnx;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.primitives.ImmutableLongArray;

/**
 * A node of the graph.
 *
 * @param op the operator, for example {@code ReduceMean}
 * @param domain the domain of the operator; empty for ONNX itself
 * @param name the node's name, which may be empty
 * @param inputs the names of the values that it reads; empty for an omitted input
 * @param outputs the names of the values that it computes
 * @param numbers the attributes that are a number
 * @param lists the attributes that are a list of integers; long lists are truncated
 */
public record OnnxNode(
    String op,
    String domain,
    String name,
    ImmutableList<String> inputs,
    ImmutableList<String> outputs,
    ImmutableMap<String, Double> numbers,
    ImmutableMap<String, ImmutableLongArray> lists) {

  /** An input's name, empty if it is omitted. */
  public String input(int index) {
    return index < inputs.size() ? inputs.get(index) : "";
  }

  /** An output's name, empty if it is omitted. */
  public String output(int index) {
    return index < outputs.size() ? outputs.get(index) : "";
  }
}
