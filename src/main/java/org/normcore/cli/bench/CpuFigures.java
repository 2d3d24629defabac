package org.normcore.cli.bench;

import com.google.gson.JsonObject;
import java.util.Optional;

/**
 * The measurements that exist on the CPU only.
 *
 * @param all with all threads
 * @param alone the same with one thread, if there are several
 * @param oneRow the times of a call on one row, in one thread
 * @param spent the time of a norm with all threads, by cause
 */
record CpuFigures(
    Throughput all, Optional<Throughput> alone, Samples oneRow, Optional<TimeSpent> spent) {

  /** The speed-up of all threads over one. */
  double speedup() {
    return alone.map(one -> one.call().median() / all.call().median()).orElse(1.0);
  }

  /** The speed-up of {@code memcpy}. */
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
