package extension

import (
	"crypto/rand"

	"github.com/google/uuid"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/types"
)

// The functions of uuid-ossp.
func init() {
	for symbol, u := range map[string]uuid.UUID{
		"uuid_nil": uuid.Nil, "uuid_ns_dns": uuid.NameSpaceDNS, "uuid_ns_url": uuid.NameSpaceURL, "uuid_ns_oid": uuid.NameSpaceOID,
		"uuid_ns_x500": uuid.NameSpaceX500,
	} {
		eval(symbol, func(*builtin.Ctx, []types.Datum) (types.Datum, error) { return uuidDatum(u, nil) })
	}
	eval("uuid_generate_v1", func(*builtin.Ctx, []types.Datum) (types.Datum, error) { return uuidDatum(uuid.NewUUID()) })
	eval("uuid_generate_v1mc", func(*builtin.Ctx, []types.Datum) (types.Datum, error) {
		u, err := uuid.NewUUID()
		if err == nil {
			_, err = rand.Read(u[10:])
			u[10] |= 1 // the bit that says multicast: no network card has such an address
		}
		return uuidDatum(u, err)
	})
	eval("uuid_generate_v4", func(*builtin.Ctx, []types.Datum) (types.Datum, error) { return uuidDatum(uuid.NewRandom()) })
	eval("uuid_generate_v3", func(_ *builtin.Ctx, a []types.Datum) (types.Datum, error) {
		return uuidDatum(uuid.NewMD5(*a[0].UUID(), []byte(a[1].Str())), nil)
	})
	eval("uuid_generate_v5", func(_ *builtin.Ctx, a []types.Datum) (types.Datum, error) {
		return uuidDatum(uuid.NewSHA1(*a[0].UUID(), []byte(a[1].Str())), nil)
	})
}

func uuidDatum(u uuid.UUID, err error) (types.Datum, error) {
	if err != nil {
		return types.Null, err
	}
	return types.NewUUID((*[16]byte)(&u)), nil
}
