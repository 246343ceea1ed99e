// Row functions that several kernels of the cpu backend share: what follows a matrix product while
// its rows are still in cache. They run on the calling thread; a row's result depends on that row
// alone. Strides are in elements, from row to row.
#pragma once

#include <cstdint>

#include "msltx/ops/cpu/tasks.h"
#include "msltx/ops/linear.h"

namespace msltx::ops::cpu {

// `out` holds x weight^T on entry. pre = out + bias (written where `pre` is given), out =
// activation(pre). `pre` and `bias` may be null.
void bias_activation_rows(float* out, float* pre, const float* bias, int64_t rows, int64_t cols,
                          int64_t out_stride, int64_t pre_stride, Activation activation);

// d_pre = d_out * activation'(pre); d_pre may be d_out.
void activation_backward_rows(float* d_pre, const float* d_out, const float* pre, int64_t rows,
                              int64_t cols, int64_t d_pre_stride, int64_t d_out_stride,
                              int64_t pre_stride, Activation activation);

// The same in either type: out = activation(pre), and d_pre = d_out * activation'(pre); out may be
// pre, and d_pre may be d_out, where they are of one type.
void activation_rows(AnyMatrix out, AnyMatrix pre, int64_t rows, int64_t cols,
                     Activation activation);
void activation_backward_rows(AnyMatrix d_pre, AnyMatrix d_out, AnyMatrix pre, int64_t rows,
                              int64_t cols, Activation activation);

// to = from, rounded or widened where their types differ.
void convert_rows(AnyMatrix to, AnyMatrix from, int64_t rows, int64_t cols);
// to[i] = from[row][column + i] in bfloat16.
void narrow_row(bfloat16* to, AnyMatrix from, int64_t row, int64_t column, int64_t n);
// to[i] = the elements at column + i of two rows in bfloat16, the first in the lower half; 0 in the
// upper half where there is one row.
void pair_rows(uint32_t* to, AnyMatrix from, int64_t row, int64_t rows, int64_t column, int64_t n);

// sums[c] = sum over the rows of x, in row order (in groups of 16).
void column_sums(float* sums, const float* x, int64_t rows, int64_t cols, int64_t stride);
void column_sums(float* sums, AnyMatrix x, int64_t rows, int64_t cols);

// log(sum of exp(x)); -inf where every element is -inf, NaN where one is NaN.
double log_sum_exp(const float* x, int64_t n);

// A part of a row of logits: x = exp(x - top), top its largest element, which is returned, and
// *total = the sum. Once those of all parts are known, scale_row: out = factor x; out may be x.
float exponentials_row(float* x, int64_t n, double* total);
void scale_row(AnyMatrix out, AnyMatrix x, int64_t n, float factor);

// out = cap tanh(x / cap); out may be x.
void softcap_row(float* out, const float* x, int64_t n, float cap);
// Of capped logits: x = exp(x - top) (1 - (x / cap)^2), what its gradient is a multiple of, while
// *total = the sum of the exponentials alone.
float capped_exponentials_row(float* x, int64_t n, float cap, double* total);

// What one AdamW step multiplies by: m += rest1 (g - m), v += rest2 (g^2 - v), param -= decay param
// + step m / (sqrt(v) root + eps).
struct AdamwFactors {
  float grad_scale, rest1, rest2, step, root, eps, decay;
};

// Updates n parameters and their moments from their gradients.
void adamw_row(float* param, float* m, float* v, const float* grad, int64_t n,
               const AdamwFactors& factors);

}  // namespace msltx::ops::cpu
