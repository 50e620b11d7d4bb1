/* Owns the pickle machine of torch files: stack, marks, memo and opcodes. What globals and
 * persistent ids stand for is in torch_rebuild.c; the archive is in torch_archive.c. It makes data and
 * can do nothing else: there is no opcode here that looks outside the file. */
#include "io/torch_build.h"
#include "io/torch_opcode.h"

#include <string.h>

#include "base/mem.h"
#include "io/store_build.h"

typedef struct machine {
    pons_torch_file *file;
    const unsigned char *data;
    size_t bytes, next;     /* next: the byte to be read */
    size_t at;              /* start of the current opcode */
    pons_torch_value stack; /* a list; NULL items are marks */
    pons_torch_value memo;  /* a list; NULL where nothing was put */
} machine;

static pons_status damaged(const machine *m, const char *what)
{
    return pons_fail(PONS_ERR_INPUT, "%s: data.pkl byte %zu: %s: damaged or truncated",
                     m->file->path, m->at, what);
}

static pons_status refuse(const machine *m, unsigned char code)
{
    const char *name = pons_torch_opcode_name(code);
    if (!name) return damaged(m, "not a pickle opcode");
    return pons_fail(PONS_ERR_UNSUPPORTED,
                     "%s: data.pkl byte %zu: found the opcode %s, allowed: those of tensors, "
                     "dictionaries, lists, tuples, numbers and text",
                     m->file->path, m->at, name);
}

/* n bytes from the pickle; NULL when fewer are left. */
static const unsigned char *take(machine *m, size_t n)
{
    if (n > m->bytes - m->next) return NULL;
    m->next += n;
    return m->data + m->next - n;
}

/* Unsigned little-endian number of n <= 8 bytes. */
static bool take_unsigned(machine *m, size_t n, uint64_t *value)
{
    const unsigned char *p = take(m, n);
    *value = 0;
    for (size_t i = 0; p && i < n; i++)
        *value |= (uint64_t)p[i] << (8 * i);
    return p != NULL;
}

static pons_status push(machine *m, pons_torch_value *value)
{
    return pons_torch_value_append(&m->stack, value);
}

static pons_status push_new(machine *m, pons_torch_kind kind, int64_t number)
{
    pons_torch_value *v = pons_torch_value_new(m->file, kind);
    if (!v) return PONS_ERR_NOMEM;
    v->number = number;
    return push(m, v);
}

/* The value on top, taken off. */
static pons_status pop(machine *m, pons_torch_value **value)
{
    pons_torch_value *top = m->stack.count ? m->stack.items[m->stack.count - 1] : NULL;
    if (!top) return damaged(m, "the stack has no value");
    m->stack.count--;
    *value = top;
    return PONS_OK;
}

/* Values above the latest mark; the mark goes, the caller takes the values off. */
static pons_status pop_mark(machine *m, int64_t *first)
{
    int64_t i = m->stack.count - 1;
    while (i >= 0 && m->stack.items[i])
        i--;
    if (i < 0) return damaged(m, "no mark on the stack");
    *first = i + 1;
    return PONS_OK;
}

/* The `n` top values become one tuple; `below` more entries (a mark) go, too. */
static pons_status make_tuple(machine *m, int64_t n, int64_t below)
{
    pons_status st = PONS_OK;
    pons_torch_value *tuple = pons_torch_value_new(m->file, PONS_TORCH_TUPLE);
    if (!tuple) return PONS_ERR_NOMEM;
    int64_t first = m->stack.count - n;
    for (int64_t i = 0; i < n; i++) {
        if (first + i < 0 || !m->stack.items[first + i])
            return damaged(m, "the stack has no value");
        PONS_TRY(st, pons_torch_value_append(tuple, m->stack.items[first + i]));
    }
    m->stack.count = first - below;
    st = push(m, tuple);
done:
    return st;
}

/* The n top values go into the list or dictionary below them; `between`: a mark stands there. */
static pons_status add_items(machine *m, int64_t first, int64_t between, pons_torch_kind kind)
{
    pons_status st = PONS_OK;
    int64_t place = first - between - 1;
    pons_torch_value *to = place >= 0 ? m->stack.items[place] : NULL;
    if (!to || to->kind != kind)
        return damaged(m, kind == PONS_TORCH_DICT ? "no dictionary to set items of"
                                                  : "no list to append to");
    bool dict = kind == PONS_TORCH_DICT;
    if (dict && (m->stack.count - first) % 2) return damaged(m, "a key without a value");
    for (int64_t i = first; i < m->stack.count; i++) {
        pons_torch_value *item = m->stack.items[i];
        if (!item) return damaged(m, "the stack has no value");
        if (dict && (i - first) % 2 == 0 && item->kind != PONS_TORCH_TEXT &&
            item->kind != PONS_TORCH_INT)
            return pons_fail(PONS_ERR_UNSUPPORTED,
                             "%s: data.pkl byte %zu: found %s as a key of a dictionary, allowed: "
                             "text, a whole number",
                             m->file->path, m->at, pons_torch_kind_name(item->kind));
        PONS_TRY(st, pons_torch_value_append(to, item));
    }
    m->stack.count = place + 1;
done:
    return st;
}

static pons_status push_text(machine *m, uint64_t bytes)
{
    const unsigned char *p = bytes <= m->bytes ? take(m, (size_t)bytes) : NULL;
    if (!p) return damaged(m, "text beyond the end");
    pons_torch_value *v = pons_torch_value_new(m->file, PONS_TORCH_TEXT);
    if (!v) return PONS_ERR_NOMEM;
    v->text = pons_mem_alloc((int64_t)bytes + 1, 1);
    if (!v->text) return PONS_ERR_NOMEM;
    memcpy(v->text, p, (size_t)bytes);
    v->text[bytes] = 0;
    v->number = (int64_t)bytes;
    return push(m, v);
}

/* One line of a GLOBAL, its newline taken. */
static const char *take_line(machine *m, size_t *bytes)
{
    const unsigned char *begin = m->data + m->next;
    const unsigned char *end = memchr(begin, '\n', m->bytes - m->next);
    if (!end) return NULL;
    *bytes = (size_t)(end - begin);
    m->next += *bytes + 1;
    return (const char *)begin;
}

static pons_status push_global(machine *m)
{
    pons_status st;
    size_t module_bytes = 0, name_bytes = 0;
    pons_torch_value *value = NULL;
    const char *module = take_line(m, &module_bytes);
    const char *name = module ? take_line(m, &name_bytes) : NULL;
    if (!name) return damaged(m, "a global beyond the end");
    PONS_TRY(st,
             pons_torch_look_up(m->file, m->at, module, module_bytes, name, name_bytes, &value));
    st = push(m, value);
done:
    return st;
}

static pons_status push_stack_global(machine *m)
{
    pons_status st;
    pons_torch_value *module = NULL, *name = NULL, *value = NULL;
    PONS_TRY(st, pop(m, &name));
    PONS_TRY(st, pop(m, &module));
    if (module->kind != PONS_TORCH_TEXT || name->kind != PONS_TORCH_TEXT)
        return damaged(m, "the name of a global is not text");
    PONS_TRY(st, pons_torch_look_up(m->file, m->at, module->text, (size_t)module->number,
                                    name->text, (size_t)name->number, &value));
    st = push(m, value);
done:
    return st;
}

static pons_status push_integer(machine *m, size_t n)
{
    uint64_t value;
    if (!take_unsigned(m, n, &value)) return damaged(m, "a number beyond the end");
    return push_new(m, PONS_TORCH_INT, n == 4 ? (int64_t)(int32_t)value : (int64_t)value);
}

/* Two's complement of up to 8 bytes. */
static pons_status push_long(machine *m)
{
    uint64_t n, value;
    if (!take_unsigned(m, 1, &n)) return damaged(m, "a number beyond the end");
    if (n > 8)
        return pons_fail(PONS_ERR_UNSUPPORTED,
                         "%s: data.pkl byte %zu: found a whole number of %d bytes, allowed: at "
                         "most 8",
                         m->file->path, m->at, (int)n);
    if (!take_unsigned(m, (size_t)n, &value)) return damaged(m, "a number beyond the end");
    if (n > 0 && n < 8 && (value >> (8 * n - 1)) & 1) value |= ~(uint64_t)0 << (8 * n);
    return push_new(m, PONS_TORCH_INT, (int64_t)value);
}

static pons_status push_float(machine *m)
{
    uint64_t bits = 0;
    const unsigned char *p = take(m, 8);
    if (!p) return damaged(m, "a number beyond the end");
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | p[i];
    pons_torch_value *v = pons_torch_value_new(m->file, PONS_TORCH_FLOAT);
    if (!v) return PONS_ERR_NOMEM;
    memcpy(&v->real, &bits, sizeof bits);
    return push(m, v);
}

/* Remember the value on top. An index above the bytes of the pickle cannot have come from a
 * pickler, which counts. */
static pons_status put(machine *m, uint64_t index)
{
    pons_status st = PONS_OK;
    if (index >= m->bytes) return damaged(m, "an index of the memo out of range");
    if (m->stack.count == 0 || !m->stack.items[m->stack.count - 1])
        return damaged(m, "the stack has no value");
    while (m->memo.count <= (int64_t)index)
        PONS_TRY(st, pons_torch_value_append(&m->memo, NULL));
    m->memo.items[index] = m->stack.items[m->stack.count - 1];
done:
    return st;
}

static pons_status get(machine *m, size_t n)
{
    uint64_t index;
    if (!take_unsigned(m, n, &index) || index >= (uint64_t)m->memo.count || !m->memo.items[index])
        return damaged(m, "an index of the memo is not set");
    return push(m, m->memo.items[index]);
}

static pons_status reduce(machine *m)
{
    pons_status st;
    pons_torch_value *callable = NULL, *arguments = NULL, *value = NULL;
    PONS_TRY(st, pop(m, &arguments));
    PONS_TRY(st, pop(m, &callable));
    PONS_TRY(st, pons_torch_reduce(m->file, m->at, callable, arguments, &value));
    st = push(m, value);
done:
    return st;
}

/* State of an object. Only an ordered dictionary may have one (torch keeps version numbers there),
 * and it is not data. */
static pons_status build(machine *m)
{
    pons_status st;
    pons_torch_value *state = NULL, *object = NULL;
    PONS_TRY(st, pop(m, &state));
    PONS_TRY(st, pop(m, &object));
    if (object->kind != PONS_TORCH_DICT)
        return pons_fail(PONS_ERR_UNSUPPORTED,
                         "%s: data.pkl byte %zu: found the opcode BUILD on %s, allowed: on an "
                         "ordered dictionary",
                         m->file->path, m->at, pons_torch_kind_name(object->kind));
    st = push(m, object);
done:
    return st;
}

static pons_status persistent(machine *m)
{
    pons_status st;
    pons_torch_value *id = NULL, *value = NULL;
    PONS_TRY(st, pop(m, &id));
    PONS_TRY(st, pons_torch_persistent(m->file, m->at, id, &value));
    st = push(m, value);
done:
    return st;
}

static pons_status check_protocol(machine *m)
{
    uint64_t version;
    if (!take_unsigned(m, 1, &version)) return damaged(m, "no protocol number");
    if (version < 2 || version > 5)
        return pons_fail(PONS_ERR_UNSUPPORTED,
                         "%s: data.pkl: found pickle protocol %d, allowed: 2 to 5", m->file->path,
                         (int)version);
    return PONS_OK;
}

/* Opcodes that work on what stands above the latest mark. */
static pons_status step_marked(machine *m, int code)
{
    int64_t first = 0;
    pons_status st = pop_mark(m, &first);
    if (st != PONS_OK) return st;
    if (code == OP_TUPLE) return make_tuple(m, m->stack.count - first, 1);
    return add_items(m, first, 1, code == OP_APPENDS ? PONS_TORCH_LIST : PONS_TORCH_DICT);
}

/* Opcodes followed by a number of n bytes that is a length, an index or of no interest. */
static pons_status step_counted(machine *m, int code, size_t n)
{
    uint64_t value;
    if (!take_unsigned(m, n, &value)) return damaged(m, "an argument beyond the end");
    if (code == OP_FRAME) return PONS_OK; /* only says how much to buffer */
    if (code == OP_BINPUT || code == OP_LONG_BINPUT) return put(m, value);
    return push_text(m, value);
}

static pons_status step(machine *m, unsigned char code)
{
    pons_torch_value *dropped = NULL;
    switch (code) {
    case OP_PROTO: return check_protocol(m);
    case OP_FRAME: return step_counted(m, code, 8);
    case OP_MARK: return push(m, NULL);
    case OP_POP: return pop(m, &dropped);
    case OP_NONE: return push_new(m, PONS_TORCH_NONE, 0);
    case OP_NEWTRUE: return push_new(m, PONS_TORCH_BOOL, 1);
    case OP_NEWFALSE: return push_new(m, PONS_TORCH_BOOL, 0);
    case OP_BININT: return push_integer(m, 4);
    case OP_BININT1: return push_integer(m, 1);
    case OP_BININT2: return push_integer(m, 2);
    case OP_LONG1: return push_long(m);
    case OP_BINFLOAT: return push_float(m);
    case OP_BINUNICODE: return step_counted(m, code, 4);
    case OP_SHORT_BINUNICODE: return step_counted(m, code, 1);
    case OP_EMPTY_LIST: return push_new(m, PONS_TORCH_LIST, 0);
    case OP_EMPTY_DICT: return push_new(m, PONS_TORCH_DICT, 0);
    case OP_EMPTY_TUPLE: return push_new(m, PONS_TORCH_TUPLE, 0);
    case OP_TUPLE1: return make_tuple(m, 1, 0);
    case OP_TUPLE2: return make_tuple(m, 2, 0);
    case OP_TUPLE3: return make_tuple(m, 3, 0);
    case OP_TUPLE: /* fall through */
    case OP_APPENDS:
    case OP_SETITEMS: return step_marked(m, code);
    case OP_APPEND: return add_items(m, m->stack.count - 1, 0, PONS_TORCH_LIST);
    case OP_SETITEM: return add_items(m, m->stack.count - 2, 0, PONS_TORCH_DICT);
    case OP_BINPUT: return step_counted(m, code, 1);
    case OP_LONG_BINPUT: return step_counted(m, code, 4);
    case OP_MEMOIZE: return put(m, (uint64_t)m->memo.count);
    case OP_BINGET: return get(m, 1);
    case OP_LONG_BINGET: return get(m, 4);
    case OP_GLOBAL: return push_global(m);
    case OP_STACK_GLOBAL: return push_stack_global(m);
    case OP_REDUCE: return reduce(m);
    case OP_BUILD: return build(m);
    case OP_BINPERSID: return persistent(m);
    default: return refuse(m, code);
    }
}

pons_status pons_torch_unpickle(pons_torch_file *file, const unsigned char *data, size_t bytes)
{
    pons_status st = PONS_OK;
    machine m = {.file = file, .data = data, .bytes = bytes};
    for (;;) {
        m.at = m.next;
        const unsigned char *code = take(&m, 1);
        if (!code) {
            st = damaged(&m, "the pickle does not stop");
            goto done;
        }
        if (*code == OP_STOP) break;
        PONS_TRY(st, step(&m, *code));
    }
    PONS_TRY(st, pop(&m, &file->root));
    if (m.stack.count) st = damaged(&m, "values are left on the stack");
done:
    pons_mem_free(m.stack.items);
    pons_mem_free(m.memo.items);
    return st;
}
