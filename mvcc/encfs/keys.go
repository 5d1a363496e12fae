package encfs

import (
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// KeysFile is the name, in the store's directory, of the file with the data keys. The store is lost without it, as without the
// store key.
const KeysFile = "STOREKEYS"

const (
	keysFormat = 1
	maxKeys    = 8 << 20
	dataKeyAge = 30 * 24 * time.Hour
)

// KeyError reports a store key that is not the store's.
type KeyError struct {
	Given, Want string // ids of keys
}

func (e *KeyError) Error() string {
	return fmt.Sprintf("encfs: the store key has the id %s, the store is encrypted under the key with the id %s", e.Given, e.Want)
}

// KeyID returns the id of a store key: it names a key without telling it.
func KeyID(key []byte) string {
	id, err := hkdf.Key(sha256.New, key, nil, "meridian store key id", 8)
	if err != nil {
		return "?"
	}
	return hex.EncodeToString(id)
}

// ParseKey reads a store key: 32 bytes, or 64 hexadecimal digits with or without a newline.
func ParseKey(b []byte) ([]byte, error) {
	if len(b) == keySize {
		return b, nil
	}
	text := b
	for len(text) > 0 && (text[len(text)-1] == '\n' || text[len(text)-1] == '\r') {
		text = text[:len(text)-1]
	}
	key := make([]byte, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(key, text); err != nil || len(key) != keySize {
		return nil, fmt.Errorf("a store key has %d bytes, or %d hexadecimal digits", keySize, 2*keySize)
	}
	return key, nil
}

// sealedKeys is the content of the file.
type sealedKeys struct {
	Format int    `json:"format"`
	KeyID  string `json:"store_key"`
	Nonce  []byte `json:"nonce"`
	Sealed []byte `json:"sealed"` // of openKeys
}

type openKeys struct {
	Plain bool      `json:"plain,omitempty"` // there may be files without encryption
	Keys  []dataKey `json:"keys"`            // the last one is for new files
}

// dataKey is as it is stored.
type dataKey struct {
	ID      uint64    `json:"id"`
	Key     []byte    `json:"key"`
	Created time.Time `json:"created"`
}

// keyring holds the data keys.
type keyring struct {
	cfg   Config
	plain bool

	mu   sync.Mutex
	keys []dataKey
}

type secretKey struct {
	id     uint64
	secret []byte
}

// Encrypted reports whether a store has data keys.
func Encrypted(fs vfs.FS, dir string) bool {
	_, err := fs.Stat(fs.PathJoin(dir, KeysFile))
	return err == nil
}

// Open returns the file system of a store, over cfg.FS. A store without data keys gets the first one; one whose seal is
// cfg.OldKey's gets a seal of cfg.Key.
func Open(cfg Config) (*FS, error) {
	switch {
	case cfg.FS == nil || cfg.Dir == "":
		return nil, errors.New("encfs: Config.FS and Config.Dir are required")
	case len(cfg.Key) != keySize, cfg.OldKey != nil && len(cfg.OldKey) != keySize:
		return nil, fmt.Errorf("encfs: a store key has %d bytes", keySize)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.MaxAge = cmp.Or(cfg.MaxAge, dataKeyAge)
	r := &keyring{cfg: cfg}
	if !Encrypted(cfg.FS, cfg.Dir) {
		r.plain = cfg.Plain
		if err := r.add(); err != nil {
			return nil, err
		}
		return &FS{FS: cfg.FS, keys: r}, nil
	}
	sealed, err := r.read()
	if err != nil {
		return nil, err
	}
	key, rotate := cfg.Key, false
	if sealed.KeyID != KeyID(key) && cfg.OldKey != nil {
		key, rotate = cfg.OldKey, true
	}
	if sealed.KeyID != KeyID(key) {
		return nil, &KeyError{Given: KeyID(cfg.Key), Want: sealed.KeyID}
	}
	if err := r.unseal(sealed, key); err != nil {
		return nil, err
	}
	if rotate {
		// Whoever has the old key may have the data keys, too: new files get one that he has not.
		if err := r.add(); err != nil {
			return nil, err
		}
	}
	return &FS{FS: cfg.FS, keys: r}, nil
}

// current returns the key for a new file, which is a new one when the last has served its time.
func (r *keyring) current() (secretKey, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := &r.keys[len(r.keys)-1]
	if age := r.cfg.Now().Sub(last.Created); age > r.cfg.MaxAge {
		if err := r.addLocked(); err != nil {
			return secretKey{}, err
		}
		last = &r.keys[len(r.keys)-1]
	}
	return secretKey{last.ID, last.Key}, nil
}

func (r *keyring) byID(id uint64) (secretKey, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.keys) - 1; i >= 0; i-- {
		if r.keys[i].ID == id {
			return secretKey{id, r.keys[i].Key}, true
		}
	}
	return secretKey{}, false
}

func (r *keyring) add() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.addLocked()
}

// addLocked makes a data key. It is durable before a file needs it.
func (r *keyring) addLocked() error {
	next := dataKey{ID: 1, Key: make([]byte, keySize), Created: r.cfg.Now().UTC()}
	if n := len(r.keys); n > 0 {
		next.ID = r.keys[n-1].ID + 1
	}
	rand.Read(next.Key)
	keys := append(r.keys[:len(r.keys):len(r.keys)], next)
	if err := r.save(keys); err != nil {
		return err
	}
	r.keys = keys
	return nil
}

func (r *keyring) gcm(key []byte) (cipher.AEAD, error) {
	seal, err := hkdf.Key(sha256.New, key, nil, "meridian data keys", keySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(seal)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (r *keyring) read() (s sealedKeys, err error) {
	fs := r.cfg.FS
	f, err := fs.Open(fs.PathJoin(r.cfg.Dir, KeysFile))
	if err != nil {
		return s, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeys))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("encfs: %s is damaged: %w", KeysFile, err)
	}
	if s.Format != keysFormat {
		return s, fmt.Errorf("encfs: %s has format %d, this build knows %d", KeysFile, s.Format, keysFormat)
	}
	return s, nil
}

func (r *keyring) unseal(s sealedKeys, key []byte) error {
	aead, err := r.gcm(key)
	if err != nil {
		return err
	}
	var open openKeys
	b, err := []byte(nil), error(nil)
	if len(s.Nonce) == aead.NonceSize() {
		b, err = aead.Open(nil, s.Nonce, s.Sealed, []byte(s.KeyID))
	} else {
		err = errors.New("its nonce has another length")
	}
	if err == nil {
		err = json.Unmarshal(b, &open)
	}
	if err == nil && len(open.Keys) == 0 {
		err = errors.New("it holds no keys")
	}
	if err != nil {
		return fmt.Errorf("encfs: %s is damaged: %w", KeysFile, err)
	}
	r.plain, r.keys = open.Plain, open.Keys
	return nil
}

// save replaces the file: after a crash there is the old one or the new one.
func (r *keyring) save(keys []dataKey) (err error) {
	aead, err := r.gcm(r.cfg.Key)
	if err != nil {
		return err
	}
	plain, err := json.Marshal(openKeys{Plain: r.plain, Keys: keys})
	if err != nil {
		return err
	}
	s := sealedKeys{Format: keysFormat, KeyID: KeyID(r.cfg.Key), Nonce: make([]byte, aead.NonceSize())}
	rand.Read(s.Nonce)
	s.Sealed = aead.Seal(nil, s.Nonce, plain, []byte(s.KeyID))
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	fs := r.cfg.FS
	tmp := fs.PathJoin(r.cfg.Dir, KeysFile+".tmp")
	f, err := fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("encfs: write %s: %w", KeysFile, err)
	}
	if err := fs.Rename(tmp, fs.PathJoin(r.cfg.Dir, KeysFile)); err != nil {
		return err
	}
	d, err := fs.OpenDir(r.cfg.Dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
