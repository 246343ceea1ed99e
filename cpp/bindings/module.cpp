// The extension module msltx._core. Users see its contents through the msltx package.
#include <pybind11/pybind11.h>

#include "bindings/register.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "The msltx engine.";
  m.attr("__version__") = MSLTX_VERSION;
  msltx::bindings::register_base(m);
  msltx::bindings::register_peaks(m);
  msltx::bindings::register_config(m);
  msltx::bindings::register_exchange(m);
  msltx::bindings::register_model(m);
  msltx::bindings::register_trace(m);
  msltx::bindings::register_train(m);
  msltx::bindings::register_generate(m);
  msltx::bindings::register_checkpoint(m);
  msltx::bindings::register_ops(m);
  msltx::bindings::register_cleaning(m);
  msltx::bindings::register_text(m);
  msltx::bindings::register_data(m);
  msltx::bindings::register_prepare(m);
  msltx::bindings::register_batches(m);
}
