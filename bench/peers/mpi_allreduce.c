/*
 * All-reduce by an MPI library: a peer of `isoerg bench allreduce --peer mpi`, which compiles this with mpicc and starts it with
 * mpirun, once over TCP and once in shared memory. Run as `mpi_allreduce SECONDS SIZE_BYTES...`; rank 0 prints one line of JSON
 * a size: the milliseconds of each sum, taken as in bench/allreduce-rank.ts.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

enum { WARMING_SUMS = 1, PROBE_SUMS = 3, MOST_SUMS = 2000, FEWEST_SUMS = 3 };

static int rank, ranks;

static int ascending(const void *a, const void *b) {
  const double difference = *(const double *)a - *(const double *)b;
  return (difference > 0) - (difference < 0);
}

static void sum_often(float *values, int length, int count, double *times) {
  const float expected = ranks * (ranks + 1) / 2.0f;
  for (int i = -WARMING_SUMS; i < count; i++) {
    for (int at = 0; at < length; at++) values[at] = rank + 1;
    const double start = MPI_Wtime();
    MPI_Allreduce(MPI_IN_PLACE, values, length, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    if (i >= 0) times[i] = 1000 * (MPI_Wtime() - start);
    if (values[0] != expected || values[length - 1] != expected) {
      fprintf(stderr, "%f instead of %f\n", values[0], expected);
      MPI_Abort(MPI_COMM_WORLD, 1);
    }
  }
}

int main(int argc, char **argv) {
  static double times[MOST_SUMS];
  char library[MPI_MAX_LIBRARY_VERSION_STRING];
  int length_of_name;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  MPI_Get_library_version(library, &length_of_name);
  for (char *at = library; *at; at++)
    if (*at == ',' || *at == '"' || *at == '\n') *at = 0;
  const double seconds = atof(argv[1]);
  for (int i = 2; i < argc; i++) {
    const int length = atol(argv[i]) / sizeof(float);
    float *values = malloc((size_t)length * sizeof(float));
    sum_often(values, length, PROBE_SUMS, times);
    qsort(times, PROBE_SUMS, sizeof times[0], ascending);
    double count = 1000 * seconds / times[PROBE_SUMS / 2];
    MPI_Bcast(&count, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD);
    const int sums = count > MOST_SUMS ? MOST_SUMS : count < FEWEST_SUMS ? FEWEST_SUMS : (int)count;
    sum_often(values, length, sums, times);
    if (rank == 0) {
      printf("{\"library\": \"%s\", \"sizeBytes\": %s, \"timesMs\": [", library, argv[i]);
      for (int at = 0; at < sums; at++) printf("%s%.6f", at ? ", " : "", times[at]);
      printf("]}\n");
      fflush(stdout);
    }
    free(values);
  }
  MPI_Finalize();
  return 0;
}
