// What each room adds to msltx._core.
#pragma once

#include <pybind11/pybind11.h>

namespace msltx::bindings {

void register_base(pybind11::module_& m);
void register_peaks(pybind11::module_& m);
void register_config(pybind11::module_& m);
void register_exchange(pybind11::module_& m);
void register_model(pybind11::module_& m);  // after register_config
void register_trace(pybind11::module_& m);  // after register_model
void register_train(pybind11::module_& m);
void register_generate(pybind11::module_& m);
void register_checkpoint(pybind11::module_& m);  // after register_model
void register_ops(pybind11::module_& m);
void register_cleaning(pybind11::module_& m);
void register_text(pybind11::module_& m);     // after register_cleaning
void register_data(pybind11::module_& m);     // after register_text
void register_prepare(pybind11::module_& m);  // after register_data
void register_batches(pybind11::module_& m);  // after register_data

}  // namespace msltx::bindings
