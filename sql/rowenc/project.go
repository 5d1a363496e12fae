package rowenc

import "encoding/binary"

// AppendWanted appends a row's value with only the columns of ids, which are ascending, and reports whether all bytes
// were understood. Nothing is decoded: columns are taken over as they are.
func AppendWanted(buf, value []byte, ids []uint32) ([]byte, bool) {
	r := reader{value}
	id, prev := uint64(0), uint64(0)
	for len(ids) > 0 && len(r.b) > 0 {
		head, ok := r.uvarint()
		if !ok || head>>4 == 0 {
			return buf, false
		}
		id += head >> 4
		data := r.b
		switch head & 15 {
		case tagNull, tagFalse, tagTrue:
		case tagInt:
			_, ok = r.uvarint()
		case tagFloat:
			_, ok = r.fixed(8)
		case tagUUID:
			_, ok = r.fixed(16)
		case tagBytes, tagNumeric, tagOther:
			_, ok = r.sized()
		default:
			ok = false
		}
		if !ok {
			return buf, false
		}
		for len(ids) > 0 && uint64(ids[0]) < id {
			ids = ids[1:]
		}
		if len(ids) > 0 && uint64(ids[0]) == id {
			buf = binary.AppendUvarint(buf, (id-prev)<<4|head&15)
			buf = append(buf, data[:len(data)-len(r.b)]...)
			prev = id
			ids = ids[1:]
		}
	}
	return buf, true
}
