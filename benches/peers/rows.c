/* Rows through the code that tl2cgen made, without Python between them. Compiled beside it; the counts are its own. */

#include "header.h"

enum { FEATURES_MAX = 4096 };

void predict_rows(const float *rows, size_t n_rows, double *out) {
  union Entry entries[FEATURES_MAX];
  int32_t n_classes[N_TARGET];
  int32_t n_features = get_num_feature();
  get_num_class(n_classes);
  for (size_t row = 0; row < n_rows; ++row) {
    for (int32_t feature = 0; feature < n_features; ++feature) {
      float value = rows[row * n_features + feature];
      if (value != value) {
        entries[feature].missing = -1;
      } else {
        entries[feature].fvalue = value;
      }
    }
    double *sums = out + row * n_classes[0];
    for (int32_t number = 0; number < n_classes[0]; ++number) {
      sums[number] = 0.0;
    }
    predict(entries, 0, sums);
  }
}
