package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// The parameters of an s3 location.
const (
	paramEndpoint = "endpoint"              // URL of a server that is not Amazon's; addressed by path
	paramRegion   = "region"                // default: the environment's, or us-east-1 with an endpoint
	paramKey      = "aws_access_key_id"     // default: the node's credentials, by environment, profile or instance role
	paramSecret   = "aws_secret_access_key" //
	paramToken    = "aws_session_token"     //
)

// bucket is a prefix in a bucket.
type bucket struct {
	client       *s3.Client
	name, prefix string
	url          string
}

func openS3(ctx context.Context, u *url.URL) (Store, error) {
	q := u.Query()
	for k := range q {
		switch k {
		case paramEndpoint, paramRegion, paramKey, paramSecret, paramToken:
		default:
			return nil, fmt.Errorf("%w: unknown parameter %q of an s3 location", ErrLocation, k)
		}
	}
	if u.Host == "" {
		return nil, fmt.Errorf("%w: give s3://bucket/prefix", ErrLocation)
	}
	if (q.Get(paramKey) == "") != (q.Get(paramSecret) == "") {
		return nil, fmt.Errorf("%w: %s and %s go together", ErrLocation, paramKey, paramSecret)
	}
	var load []func(*config.LoadOptions) error
	if q.Get(paramKey) != "" {
		load = append(load, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(q.Get(paramKey), q.Get(paramSecret), q.Get(paramToken))))
	}
	if r := q.Get(paramRegion); r != "" {
		load = append(load, config.WithRegion(r))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("s3 credentials: %w", err)
	}
	endpoint := q.Get(paramEndpoint)
	if endpoint != "" {
		if e, err := url.Parse(endpoint); err != nil || e.Host == "" {
			return nil, fmt.Errorf("%w: %s is to be a URL", ErrLocation, paramEndpoint)
		}
		if cfg.Region == "" {
			cfg.Region = "us-east-1"
		}
	}
	b := &bucket{name: u.Host, prefix: strings.Trim(u.Path, "/"), url: "s3://" + u.Host + u.Path}
	b.client = s3.NewFromConfig(cfg, func(o *s3.Options) {
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
			o.UsePathStyle = true
		}
		// Files carry checksums of their own, and not every compatible server knows those of the protocol.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
	return b, nil
}

func (b *bucket) key(name string) *string { return aws.String(path.Join(b.prefix, name)) }

// Write implements Store: a put is atomic.
func (b *bucket) Write(ctx context.Context, name string, data []byte) error {
	_, err := b.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &b.name, Key: b.key(name), Body: bytes.NewReader(data), ContentLength: aws.Int64(int64(len(data)))})
	if err != nil {
		return fmt.Errorf("write %s/%s: %w", b.url, name, err)
	}
	return nil
}

// Read implements Store.
func (b *bucket) Read(ctx context.Context, name string) ([]byte, error) {
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: b.key(name)})
	if err != nil {
		var none *types.NoSuchKey
		if errors.As(err, &none) {
			err = fs.ErrNotExist
		}
		return nil, fmt.Errorf("read %s/%s: %w", b.url, name, err)
	}
	defer out.Body.Close()
	data, err := io.ReadAll(out.Body)
	if err != nil {
		return nil, fmt.Errorf("read %s/%s: %w", b.url, name, err)
	}
	return data, nil
}

// Remove implements Store.
func (b *bucket) Remove(ctx context.Context, name string) error {
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.name, Key: b.key(name)})
	if err != nil {
		return fmt.Errorf("remove %s/%s: %w", b.url, name, err)
	}
	return nil
}

// URL implements Store.
func (b *bucket) URL() string { return b.url }
