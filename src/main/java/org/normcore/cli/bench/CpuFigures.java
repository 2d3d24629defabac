package org.normcore.cli.bench;

import com.google.gson.JsonObject;
import java.util.Optional;

/**
 * What is measured on the CPU only.
 *
 * @param all with all threads
 * @param alone the same with one thread, where that is not all
 * @param oneRow the times of a call on one row, in one thread
 * @param spent where the time goes with all threads; for norms
 */
record CpuFigures(
    Throughput all, Optional<Throughput> alone, Samples oneRow, Optional<TimeSpent> spent) {

  /** How many times as fast all threads are as one. */
  double speedup() {
    return alone.map(one -> one.call().median() / all.call().median()).orElse(1.0);
  }

  /** The same for {@code memcpy}. */
  double copySpeedup() {
    return alone.map(one -> one.copy().median() / all.copy().median()).orElse(1.0);
  }

  void addTo(JsonObject json) {
    all.addDetails(json);
    json.add("one_row_quartile_seconds", oneRow.quartiles(1e-9));
    if (alone.isPresent()) {
      JsonObject one = new JsonObject();
      alone.get().addBasics(one);
      alone.get().addDetails(one);
      json.add("one_thread", one);
      json.addProperty("speedup", speedup());
      json.addProperty("copy_speedup", copySpeedup());
    }
    spent.ifPresent(time -> json.add("time", time.json()));
  }
}
