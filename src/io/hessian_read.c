/* Owns reading the Hessian files of a run on one rank, without MPI. HDF5 checks fletcher32 on every
 * read; a dataset without it is refused, because damage there would go unseen. The digest of the
 * whole is checked as well (hessian_digest.h says why). */
#include <hdf5.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/hdf5_error.h"
#include "io/hessian_digest.h"
#include "io/hessian_file.h"

/* A committed file never changes, so no lock is wanted (some parallel file systems have none). */
static pons_status open_file(const char *path, hid_t *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return pons_fail_errno(PONS_ERR_IO, errno, "cannot open %s", path);
    close(fd);
    pons_hdf5_quiet();
    hid_t access = H5Pcreate(H5P_FILE_ACCESS), file = H5I_INVALID_HID;
    if (access >= 0 && H5Pset_file_locking(access, false, true) >= 0)
        file = H5Fopen(path, H5F_ACC_RDONLY, access);
    pons_status st =
        file >= 0 ? PONS_OK : pons_hdf5_fail(PONS_ERR_INPUT, path, "not a readable HDF5 file");
    if (access >= 0) H5Pclose(access);
    *out = file;
    return st;
}

/* Whether a dataset holds 64-bit floats under a checksum. */
static bool is_checked_f64(hid_t set)
{
    bool good = false;
    unsigned flags;
    size_t none = 0;
    hid_t type = H5Dget_type(set), list = H5Dget_create_plist(set);
    if (type >= 0 && list >= 0)
        good = H5Tequal(type, H5T_IEEE_F64LE) > 0 &&
               H5Pget_filter_by_id2(list, H5Z_FILTER_FLETCHER32, &flags, &none, NULL, 0, NULL,
                                    NULL) >= 0;
    if (list >= 0) H5Pclose(list);
    if (type >= 0) H5Tclose(type);
    return good;
}

/* Extent of a dataset; -1 when it does not have `ndim` dimensions, or is not square. */
static int64_t extent(hid_t set, int ndim)
{
    int64_t d = -1;
    hsize_t dims[2] = {0, 0};
    hid_t space = H5Dget_space(set);
    if (space >= 0 && H5Sget_simple_extent_ndims(space) == ndim &&
        H5Sget_simple_extent_dims(space, dims, NULL) == ndim && dims[0] > 0 &&
        dims[0] <= INT32_MAX && (ndim == 1 || dims[0] == dims[1]))
        d = (int64_t)dims[0];
    if (space >= 0) H5Sclose(space);
    return d;
}

static pons_status get_attribute(const char *path, hid_t object, const char *name, hid_t type,
                                 void *value)
{
    herr_t rc = -1;
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    if (attribute >= 0) {
        rc = H5Aread(attribute, type, value);
        H5Aclose(attribute);
    }
    return rc >= 0 ? PONS_OK : pons_hdf5_fail(PONS_ERR_INPUT, path, name);
}

struct pons_hessian_reader {
    char *path, *where; /* where: GROUP/H */
    hid_t file, set;
    int64_t d, next; /* first row that was not read yet */
    uint64_t digest; /* of the rows before it */
    uint64_t recorded;
};

/* Dataset GROUP/NAME, [d] or [d, d], and the digest beside it. */
static pons_status open_dataset(const char *path, hid_t file, const char *where, int ndim,
                                hid_t *set, int64_t *d, uint64_t *digest)
{
    *set = H5Dopen2(file, where, H5P_DEFAULT);
    if (*set < 0) return pons_hdf5_fail(PONS_ERR_INPUT, path, where);
    *d = extent(*set, ndim);
    if (*d < 0 || !is_checked_f64(*set))
        return pons_fail(PONS_ERR_INPUT,
                         "%s: %s is not %s of 64-bit floats with fletcher32 checksums", path, where,
                         ndim == 1 ? "a vector" : "a square matrix");
    return get_attribute(path, *set, "digest", H5T_NATIVE_UINT64, digest);
}

static pons_status check_digest(const char *path, const char *where, uint64_t found,
                                uint64_t recorded)
{
    if (found == recorded) return PONS_OK;
    return pons_fail(PONS_ERR_INPUT, "%s: %s does not match its digest: damaged", path, where);
}

static pons_status read_norm(const char *path, hid_t file, const char *group, int64_t d,
                             double **out)
{
    pons_status st = PONS_OK;
    double *data = NULL;
    int64_t n = 0;
    uint64_t digest = 0;
    hid_t set = H5I_INVALID_HID;
    char *where = pons_mem_printf("%s/norm", group);
    if (!where) return PONS_ERR_NOMEM;
    PONS_TRY(st, open_dataset(path, file, where, 1, &set, &n, &digest));
    if (n != d) {
        st = pons_fail(PONS_ERR_INPUT,
                       "%s: %s: H has %lld rows and norm %lld entries; allowed: the same", path,
                       group, (long long)d, (long long)n);
        goto done;
    }
    PONS_ALLOC(st, data, n);
    if (H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0) {
        st = pons_hdf5_fail(PONS_ERR_INPUT, path, where);
        goto done;
    }
    PONS_TRY(st, check_digest(path, where, pons_hessian_digest(data, n), digest));
    *out = data;
    data = NULL;
done:
    pons_mem_free(data);
    if (set >= 0) H5Dclose(set);
    pons_mem_free(where);
    return st;
}

pons_status pons_hessian_reader_open(const char *path, const char *group, int64_t *d, double **norm,
                                     pons_hessian_reader **out)
{
    pons_status st = PONS_OK;
    pons_hessian_reader *r = NULL;
    PONS_CALLOC(st, r, 1);
    r->file = r->set = H5I_INVALID_HID;
    r->path = pons_mem_strdup(path);
    r->where = pons_mem_printf("%s/H", group);
    if (!r->path || !r->where) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    PONS_TRY(st, open_file(path, &r->file));
    PONS_TRY(st, open_dataset(path, r->file, r->where, 2, &r->set, &r->d, &r->recorded));
    PONS_TRY(st, read_norm(path, r->file, group, r->d, norm));
    *d = r->d;
    *out = r;
    r = NULL;
done:
    pons_hessian_reader_close(&r);
    return st;
}

pons_status pons_hessian_reader_rows(pons_hessian_reader *r, int64_t first, int64_t rows,
                                     double *out)
{
    const hsize_t start[2] = {(hsize_t)first, 0}, count[2] = {(hsize_t)rows, (hsize_t)r->d};
    if (first == 0) r->next = 0, r->digest = 0;
    PONS_ASSERT(first == r->next && rows >= 0 && first + rows <= r->d);
    hid_t memory = H5Screate_simple(2, count, NULL), disk = H5Dget_space(r->set);
    bool read = memory >= 0 && disk >= 0 &&
                H5Sselect_hyperslab(disk, H5S_SELECT_SET, start, NULL, count, NULL) >= 0 &&
                H5Dread(r->set, H5T_NATIVE_DOUBLE, memory, disk, H5P_DEFAULT, out) >= 0;
    pons_status st = read ? PONS_OK : pons_hdf5_fail(PONS_ERR_INPUT, r->path, r->where);
    if (disk >= 0) H5Sclose(disk);
    if (memory >= 0) H5Sclose(memory);
    if (st != PONS_OK) return st;
    r->digest += pons_hessian_digest_part(out, first * r->d, rows * r->d);
    r->next += rows;
    return r->next < r->d ? PONS_OK : check_digest(r->path, r->where, r->digest, r->recorded);
}

void pons_hessian_reader_close(pons_hessian_reader **reader)
{
    pons_hessian_reader *r = *reader;
    if (!r) return;
    if (r->set >= 0) H5Dclose(r->set);
    if (r->file >= 0) H5Fclose(r->file);
    pons_mem_free(r->where);
    pons_mem_free(r->path);
    pons_mem_free(r);
    *reader = NULL;
}

pons_status pons_hessian_file_read(const char *path, const char *group, int64_t *d, double **H,
                                   double **norm)
{
    pons_status st = PONS_OK;
    pons_hessian_reader *r = NULL;
    double *matrix = NULL, *vector = NULL;
    int64_t width = 0;
    PONS_TRY(st, pons_hessian_reader_open(path, group, &width, &vector, &r));
    PONS_ALLOC(st, matrix, width * width);
    PONS_TRY(st, pons_hessian_reader_rows(r, 0, width, matrix));
    *d = width;
    *H = matrix;
    *norm = vector;
    matrix = vector = NULL;
done:
    pons_mem_free(matrix);
    pons_mem_free(vector);
    pons_hessian_reader_close(&r);
    return st;
}

pons_status pons_hessian_file_each_group(const char *path, pons_hessian_file_group visit,
                                         void *user)
{
    pons_status st;
    hid_t file = H5I_INVALID_HID;
    H5G_info_t info = {0};
    PONS_TRY(st, open_file(path, &file));
    if (H5Gget_info(file, &info) < 0) st = pons_hdf5_fail(PONS_ERR_INPUT, path, "no groups");
    for (hsize_t i = 0; st == PONS_OK && i < info.nlinks; i++) {
        char name[64] = "";
        if (H5Lget_name_by_idx(file, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name,
                               H5P_DEFAULT) < 0)
            st = pons_hdf5_fail(PONS_ERR_INPUT, path, "cannot read the name of a group");
        else
            st = visit(user, name);
    }
done:
    if (file >= 0) H5Fclose(file);
    return st;
}

static pons_status get_text(const char *path, hid_t file, const char *name, char **out)
{
    pons_status st = PONS_OK;
    char *text = NULL;
    hid_t attribute = H5Aopen(file, name, H5P_DEFAULT), type = H5I_INVALID_HID;
    if (attribute >= 0) type = H5Aget_type(attribute);
    if (type < 0 || H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) ||
        H5Aget_storage_size(attribute) != H5Tget_size(type)) {
        st = pons_fail(PONS_ERR_INPUT, "%s: attribute %s is not one text", path, name);
        goto done;
    }
    PONS_CALLOC(st, text, (int64_t)H5Tget_size(type) + 1);
    if (H5Aread(attribute, type, text) < 0) {
        st = pons_hdf5_fail(PONS_ERR_INPUT, path, name);
        goto done;
    }
    *out = text;
    text = NULL;
done:
    pons_mem_free(text);
    if (type >= 0) H5Tclose(type);
    if (attribute >= 0) H5Aclose(attribute);
    return st;
}

pons_status pons_hessian_file_read_attributes(const char *path, pons_hessian_attributes *attributes,
                                              char **fingerprint)
{
    pons_status st;
    hid_t file = H5I_INVALID_HID;
    pons_hessian_attributes a = {0};
    PONS_TRY(st, open_file(path, &file));
    PONS_TRY(st, get_attribute(path, file, "windows", H5T_NATIVE_INT64, &a.windows));
    PONS_TRY(st, get_attribute(path, file, "tokens", H5T_NATIVE_INT64, &a.tokens));
    PONS_TRY(st, get_attribute(path, file, "wave", H5T_NATIVE_INT64, &a.wave));
    PONS_TRY(st, get_attribute(path, file, "damping", H5T_NATIVE_DOUBLE, &a.damping));
    PONS_TRY(st, get_text(path, file, "fingerprint", fingerprint));
    a.fingerprint = *fingerprint;
    *attributes = a;
done:
    if (file >= 0) H5Fclose(file);
    return st;
}
