// Errors as Python classes, the thread count, and the probes that the tests of both stand on.
#include <pybind11/pybind11.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>

#include "bindings/call.h"
#include "bindings/register.h"
#include "msltx/base/error.h"
#include "msltx/base/executor.h"
#include "msltx/base/memory.h"

namespace py = pybind11;

namespace msltx::bindings {
namespace {

// Owned by the module and by this table, which outlives every call.
struct ErrorClasses {
  py::handle base, value, file, memory, busy;
};
ErrorClasses classes;

py::handle add_error(py::module_& m, const char* name, const char* doc, const py::tuple& bases) {
  const std::string full = concat("msltx.", name);
  PyObject* made = PyErr_NewExceptionWithDoc(full.c_str(), doc, bases.ptr(), nullptr);
  if (!made) throw py::error_already_set();
  m.add_object(name, py::reinterpret_borrow<py::object>(made));
  return made;
}

// A message may hold a file's name, whose bytes need not be UTF-8.
void set_message(const py::handle& type, const char* message) {
  const auto text = py::reinterpret_steal<py::object>(PyUnicode_DecodeUTF8(
      message, static_cast<Py_ssize_t>(std::strlen(message)), "surrogateescape"));
  if (text) PyErr_SetObject(type.ptr(), text.ptr());
}

void translate(std::exception_ptr error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const Cancelled&) {
    PyErr_SetNone(PyExc_KeyboardInterrupt);
  } catch (const ValueError& e) {
    set_message(classes.value, e.what());
  } catch (const FileError& e) {
    set_message(classes.file, e.what());
  } catch (const MemoryLimitError& e) {
    set_message(classes.memory, e.what());
  } catch (const BusyError& e) {
    set_message(classes.busy, e.what());
  } catch (const Error& e) {
    set_message(classes.base, e.what());
  } catch (const std::filesystem::filesystem_error& e) {
    set_message(classes.file, e.what());
  }
}

// Throws the C++ error of that name, so that a test can see what arrives in Python.
void raise_error(const std::string& name) {
  const std::string text = concat("this is ", name);
  if (name == "ValueError") throw ValueError(text);
  if (name == "FileError") throw FileError(text);
  if (name == "MemoryLimitError") throw MemoryLimitError(text);
  if (name == "BusyError") throw BusyError(text);
  if (name == "Cancelled") throw Cancelled();
  throw Error(text);
}

// Works for `seconds`; notices a cancellation every millisecond unless told not to.
double work_for(double seconds, bool cancellable) {
  return run_released([&] {
    using Clock = std::chrono::steady_clock;
    const auto begin = Clock::now();
    const auto worked = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
    while (worked() < seconds) {
      if (cancellable) Executor::global().check_cancelled();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return worked();
  });
}

}  // namespace

void register_base(py::module_& m) {
  const auto builtin = [](PyObject* object) { return py::reinterpret_borrow<py::object>(object); };
  classes.base = add_error(m, "Error", "Base of every error that msltx raises.",
                           py::make_tuple(builtin(PyExc_Exception)));
  const auto derive = [&](const char* name, const char* doc, PyObject* also) {
    return add_error(m, name, doc, py::make_tuple(classes.base, builtin(also)));
  };
  classes.value = derive("InvalidValueError",
                         "An argument, a configuration value or an array outside what is taken.",
                         PyExc_ValueError);
  classes.file = derive("FileError", "A file that is missing, unreadable, damaged or not writable.",
                        PyExc_OSError);
  classes.memory =
      derive("MemoryLimitError", "A plan that needs more memory than there is.", PyExc_MemoryError);
  classes.busy = derive("BusyError", "A second caller entered an object that takes one at a time.",
                        PyExc_RuntimeError);
  py::register_local_exception_translator(translate);

  m.def(
      "set_num_threads",
      [](int threads) {
        wait_released([&](const auto& poll) { Executor::global().set_threads(threads, poll); });
      },
      py::arg("threads"),
      "Use this many threads from now on, 1 to 1024. Results do not depend on the number.");
  m.def(
      "get_num_threads", [] { return Executor::global().threads(); },
      "The number of threads in use: set_num_threads, else MSLTX_NUM_THREADS, else what the "
      "machine "
      "gives (the least of affinity mask, cgroup quota and physical cores).");
  m.def("available_memory", &available_memory, "Bytes of memory that this process may still take.");
  m.def("_raise_error", &raise_error, py::arg("name"));
  m.def("_work_for", &work_for, py::arg("seconds"), py::arg("cancellable") = true);
}

}  // namespace msltx::bindings
