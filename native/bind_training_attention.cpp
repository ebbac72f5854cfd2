// Training's attention as functions of Python.

#include "bind_training.h"

namespace nextword {
namespace {

// Queries (tokens, num_heads, head_dim), and keys and values (tokens, num_kv_heads, head_dim).
struct HeadTensors {
    HeadTensors(const AnyArray& query_array, const AnyArray& key_array, const AnyArray& value_array,
                const AnyArray& start_array)
        : queries(query_array, "queries"),
          keys(key_array, "keys"),
          values(value_array, "values"),
          starts(start_array, "starts") {
        values.require_size(keys.size());
        if (query_array.ndim() != 3 || key_array.ndim() != 3) queries.refuse("and keys have not three dimensions");
        num_tokens = static_cast<int64_t>(query_array.shape(0));
        num_heads = static_cast<int64_t>(query_array.shape(1));
        num_kv_heads = static_cast<int64_t>(key_array.shape(1));
        const int64_t head_dim = queries.last_size();
        if (head_dim < kLanes || head_dim % kLanes != 0) queries.refuse("have a head_dim that is not whole vectors");
        if (static_cast<int64_t>(key_array.shape(0)) != num_tokens || keys.last_size() != head_dim ||
            num_kv_heads < 1 || num_heads < 1 || num_heads % num_kv_heads != 0) {
            keys.refuse("do not fit the queries");
        }
        check_starts();
    }

    // Every document has a token, and together they are all tokens.
    void check_starts() const {
        const int64_t* const bounds = starts.data<const int64_t>();
        const int64_t count = starts.size();
        bool is_right = count >= 2 && bounds[0] == 0 && bounds[count - 1] == num_tokens;
        for (int64_t i = 0; is_right && i + 1 < count; ++i) is_right = bounds[i] < bounds[i + 1];
        if (!is_right) starts.refuse("do not divide the tokens into documents");
    }

    template <class Element>
    PackedHeads<Element> packed(int64_t window, float scale) const {
        if (window < 1) queries.refuse("attend to no key: window = " + std::to_string(window));
        return {queries.data<const Element>(),
                keys.data<const Element>(),
                values.data<const Element>(),
                starts.data<const int64_t>(),
                starts.size() - 1,
                num_heads,
                num_kv_heads,
                queries.last_size(),
                std::min(window, num_tokens),
                scale};
    }

    Tensor queries, keys, values, starts;
    int64_t num_tokens = 0, num_heads = 0, num_kv_heads = 0;
};

void attend(const AnyArray& queries, const AnyArray& keys, const AnyArray& values, const AnyArray& starts,
            int64_t window, float scale, const AnyArray& mixed_array, const AnyArray& log_sums_array) {
    const HeadTensors tensors(queries, keys, values, starts);
    const Tensor mixed(mixed_array, "mixed"), log_sums(log_sums_array, "log_sums");
    mixed.require_size(tensors.queries.size()), log_sums.require_size(tensors.num_heads * tensors.num_tokens);
    for_type(tensors.queries, [&](const auto& kernels, auto element) {
        using Element = decltype(element);
        const PackedHeads<Element> heads = tensors.packed<Element>(window, scale);
        Element* const out = mixed.data<Element>();
        float* const sums = log_sums.data<float>();
        share_out_without_gil(heads.num_units(), 1,
                              [&](int64_t first, int64_t last) { kernels.attend(heads, first, last, out, sums); });
    });
}

void attend_backward(const AnyArray& queries, const AnyArray& keys, const AnyArray& values, const AnyArray& starts,
                     int64_t window, float scale, const AnyArray& mixed_array, const AnyArray& log_sums_array,
                     const AnyArray& grad_array, const AnyArray& query_grad_array, const AnyArray& key_grad_array,
                     const AnyArray& value_grad_array) {
    const HeadTensors tensors(queries, keys, values, starts);
    const Tensor mixed(mixed_array, "mixed"), log_sums(log_sums_array, "log_sums"), grad(grad_array, "grad");
    const Tensor query_grad(query_grad_array, "query_grad"), key_grad(key_grad_array, "key_grad"),
        value_grad(value_grad_array, "value_grad");
    for (const Tensor* tensor : {&mixed, &grad, &query_grad}) tensor->require_size(tensors.queries.size());
    for (const Tensor* tensor : {&key_grad, &value_grad}) tensor->require_size(tensors.keys.size());
    log_sums.require_size(tensors.num_heads * tensors.num_tokens);
    for_type(tensors.queries, [&](const auto& kernels, auto element) {
        using Element = decltype(element);
        const PackedHeads<Element> heads = tensors.packed<Element>(window, scale);
        const Element *outs = mixed.data<const Element>(), *grads = grad.data<const Element>();
        const float* const sums = log_sums.data<const float>();
        Element *query_grads = query_grad.data<Element>(), *key_grads = key_grad.data<Element>();
        Element* const value_grads = value_grad.data<Element>();
        share_out_without_gil(heads.num_units(), 1, [&](int64_t first, int64_t last) {
            kernels.attend_backward(heads, first, last, outs, sums, grads, query_grads, key_grads, value_grads);
        });
    });
}

}  // namespace

void bind_training_attention(nb::module_& m) {
    m.def("attend", &attend, nb::arg("queries"), nb::arg("keys"), nb::arg("values"), nb::arg("starts"),
          nb::arg("window"), nb::arg("scale"), nb::arg("mixed"), nb::arg("log_sums"));
    m.def("attend_backward", &attend_backward, nb::arg("queries"), nb::arg("keys"), nb::arg("values"),
          nb::arg("starts"), nb::arg("window"), nb::arg("scale"), nb::arg("mixed"), nb::arg("log_sums"),
          nb::arg("grad"), nb::arg("query_grad"), nb::arg("key_grad"), nb::arg("value_grad"));
}

}  // namespace nextword
