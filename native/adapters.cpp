#include "adapters.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>

namespace nextword {

namespace {

Matrix packed(int rows, int columns, PanelPart part, int num_given, const float* values) {
    Matrix matrix(WeightKind::F32, rows, columns);
    pack_rows(matrix, part, 0, num_given, Encoding::F32, reinterpret_cast<const uint8_t*>(values));
    return matrix;
}

// work(first row, last row, adapter) for each run of rows from `first` to `last` that have the same adapter.
template <class Work>
void for_each_run(const std::vector<int>& adapter_of_row, int first, int last, const Work& work) {
    while (first < last) {
        int end = first + 1;
        while (end < last && adapter_of_row[end] == adapter_of_row[first]) ++end;
        if (adapter_of_row[first] != 0) work(first, end, adapter_of_row[first]);
        first = end;
    }
}

}  // namespace

int Adapters::add() {
    changes_.emplace_back();
    return count();
}

void Adapters::load(int adapter, const std::string& name, const ChangeValues& values) {
    if (adapter < 1 || adapter > count()) throw std::invalid_argument("no adapter has the number given");
    const bool is_tied_head = name == "output_head.weight" && weights_.is_tied();
    const Weights::MatrixSlot& slot = weights_.slot_of(is_tied_head ? "embedding.weight" : name);
    const Linear& linear = *slot.linear;
    const bool is_head = &linear == &weights_.output_head() && name == "output_head.weight";
    const auto has = [&](const Layer& layer) {
        const Mlp& mlp = layer.mlp;
        const Linear* all[] = {&layer.query, &layer.key, &layer.value, &layer.out, &mlp.gate, &mlp.up, &mlp.down};
        return std::find(std::begin(all), std::end(all), &linear) != std::end(all);
    };
    const bool is_in_layer = std::any_of(weights_.layers.begin(), weights_.layers.end(), has);
    if (linear.matrix.rows == 0 || !(is_head || is_in_layer)) {
        throw std::invalid_argument("adapters change no layer " + name);
    }
    const size_t rank = values.rank, rows = slot.rows, columns = slot.columns;
    const auto fits = [](const std::vector<float>& vector, size_t size) {
        return vector.empty() || vector.size() == size;
    };
    if (values.rank < 0 || values.down.size() != rank * columns || values.up.size() != rank * rows ||
        !fits(values.input_factor, columns) || !fits(values.factor, rows) || !fits(values.offset, rows)) {
        throw std::invalid_argument("the values of an adapter do not fit " + name);
    }
    Change change;
    if (values.rank > 0) {
        change.down = packed(values.rank, slot.columns, PanelPart::Whole, values.rank, values.down.data());
        change.up = packed(linear.matrix.rows, values.rank, slot.part, slot.rows, values.up.data());
    }
    if (!values.factor.empty()) put_in_panel_order(values.factor.data(), slot.rows, slot.part, 1.0f, change.factor);
    if (!values.offset.empty()) put_in_panel_order(values.offset.data(), slot.rows, slot.part, 0.0f, change.offset);
    if (!values.input_factor.empty()) {
        const auto is_last = [&](const Layer& layer) { return &layer.mlp.down == &linear; };
        if (std::none_of(weights_.layers.begin(), weights_.layers.end(), is_last)) {
            throw std::invalid_argument("the inputs of " + name + " cannot be scaled");
        }
        change.input_factor = values.input_factor;
    }
    const Change& added = changes_[adapter - 1][&linear].emplace_back(std::move(change));
    num_bytes_ += added.down.bytes.size() + added.up.bytes.size();
}

const std::vector<Adapters::Change>* Adapters::find(int adapter, const Linear& linear) const {
    const auto found = changes_[adapter - 1].find(&linear);
    return found == changes_[adapter - 1].end() ? nullptr : &found->second;
}

bool Adapters::change(const Linear& linear, const std::vector<int>& adapter_of_row) const {
    if (changes_.empty()) return false;
    return std::any_of(adapter_of_row.begin(), adapter_of_row.end(),
                       [&](int adapter) { return adapter != 0 && find(adapter, linear) != nullptr; });
}

void Adapters::apply(const Linear& linear, const std::vector<int>& adapter_of_row, const float* inputs, float* outputs,
                     int width) const {
    if (!change(linear, adapter_of_row)) return;
    const int num_rows = static_cast<int>(adapter_of_row.size()), columns = linear.matrix.columns;
    const int unit = kernels_.tile_tokens;
    threads_.run(ceil_div(num_rows, unit), [&](int first_unit, int last_unit) {
        const int first = first_unit * unit, last = std::min(num_rows, last_unit * unit);
        for_each_run(adapter_of_row, first, last, [&](int begin, int end, int adapter) {
            const std::vector<Change>* changes = find(adapter, linear);
            if (changes == nullptr) return;
            Activations x;
            x.num_tokens = end - begin, x.columns = x.row_stride = columns;
            x.rows = inputs + static_cast<size_t>(begin) * columns;
            for (const Change& one : *changes) apply_to(one, x, outputs + static_cast<size_t>(begin) * width, width);
        });
    });
}

void Adapters::apply_to(const Change& change, const Activations& x, float* outputs, int width) const {
    const int rank = change.down.rows;
    if (rank > 0) {
        thread_local std::vector<float> narrow;
        narrow.resize(static_cast<size_t>(x.num_tokens) * rank);
        const Output into_narrow{narrow.data(), rank, rank, nullptr, Epilogue::Store, Activation::None};
        kernels_.multiply(change.down, 0, change.down.num_panels(), x, into_narrow);
        Activations y;
        y.num_tokens = x.num_tokens, y.columns = y.row_stride = rank, y.rows = narrow.data();
        const Output added{outputs, width, width, nullptr, Epilogue::Add, Activation::None};
        kernels_.multiply(change.up, 0, change.up.num_panels(), y, added);
    }
    for (int row = 0; row < x.num_tokens; ++row) {
        float* out = outputs + static_cast<size_t>(row) * width;
        if (!change.factor.empty()) {
            for (int i = 0; i < width; ++i) out[i] *= change.factor[i];
        }
        if (!change.offset.empty()) {
            for (int i = 0; i < width; ++i) out[i] += change.offset[i];
        }
    }
}

void Adapters::scale_inputs(const Linear& linear, const std::vector<int>& adapter_of_row, float* inputs) const {
    if (!change(linear, adapter_of_row)) return;
    const int num_rows = static_cast<int>(adapter_of_row.size()), columns = linear.matrix.columns;
    for_each_run(adapter_of_row, 0, num_rows, [&](int begin, int end, int adapter) {
        const std::vector<Change>* changes = find(adapter, linear);
        if (changes == nullptr || changes->front().input_factor.empty()) return;
        const std::vector<float>& factor = changes->front().input_factor;
        for (int row = begin; row < end; ++row) {
            float* x = inputs + static_cast<size_t>(row) * columns;
            for (int i = 0; i < columns; ++i) x[i] *= factor[i];
        }
    });
}

}  // namespace nextword
